//! `docs/concepts/threats.md` names a test for each answer: they are there.

use std::path::Path;

#[test]
fn each_test_that_the_document_names_exists() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(src.join("../docs/concepts/threats.md")).unwrap();
    let mut found = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let Some((file, name)) = quoted.split_once(".rs: ") else { continue };
        let folder = match file.split('/').next() {
            Some("record") => "shared",
            Some("update" | "peer") => "node",
            _ => "fleet",
        };
        let path = src.join(folder).join(format!("{file}.rs"));
        let code = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(code.contains(&format!("fn {name}(")), "{}: there is no {name}", path.display());
        found += 1;
    }
    assert!(found > 30, "{found} tests are named");
}
