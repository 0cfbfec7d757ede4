//! The machine's own pip chooses among wheels of a folder, for a Python and an architecture that are not the machine's.

use std::fs;
use std::io::Write;
use std::path::Path;

use fruit_base::Sha256;
use fruit_wheels::{NotChosen, Target, resolve};
use zip::write::SimpleFileOptions;

/// Writes a wheel into the index and gives its hash.
fn wheel(index: &Path, name: &str, version: &str, tags: &str, requires: &[&str]) -> Sha256 {
    let file = format!("{}-{version}-{tags}.whl", name.replace('-', "_"));
    let folder = index.join(name);
    fs::create_dir_all(&folder).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.join(&file)).unwrap());
    let info = format!("{}-{version}.dist-info", name.replace('-', "_"));
    let requires: String = requires.iter().map(|one| format!("Requires-Dist: {one}\n")).collect();
    for (path, text) in [
        ("METADATA", format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")),
        ("WHEEL", format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tags}\n")),
        ("RECORD", String::new()),
    ] {
        zip.start_file(format!("{info}/{path}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let sum = Sha256::of(&fs::read(folder.join(&file)).unwrap());
    let mut page = fs::OpenOptions::new().create(true).append(true).open(folder.join("index.html")).unwrap();
    writeln!(page, "<a href=\"{file}#sha256={sum}\">{file}</a><br>").unwrap();
    sum
}

fn ask(index: &Path, requirements: &[&str], kept: &[(&str, &str)]) -> Result<Vec<(String, String, Sha256)>, NotChosen> {
    let target = Target::new("arm64", "3.13.5-1", "2.41-12").unwrap();
    let requirements: Vec<String> = requirements.iter().map(|one| (*one).to_owned()).collect();
    let kept: Vec<(String, String)> = kept.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let chosen = resolve(&target, &requirements, &kept, Some(&format!("file://{}", index.display())))?;
    Ok(chosen.into_iter().map(|one| (one.name, one.version, one.sha256)).collect())
}

#[test]
fn wheels_are_those_of_the_image_s_python_architecture_and_markers() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path();
    let requires = [
        "native-part>=1",
        "of-arm; platform_machine == 'aarch64'",
        "of-pc; platform_machine == 'x86_64'",
        "of-python; python_version == '3.13'",
        "of-old-python; python_version < '3.13'",
    ];
    let demo = wheel(index, "demo", "2.0", "py3-none-any", &requires);
    wheel(index, "native-part", "1.2", "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", &[]);
    let native = wheel(index, "native-part", "1.2", "cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64", &[]);
    // Newer, but for another Python, another C library, another architecture.
    wheel(index, "native-part", "1.3", "cp312-cp312-manylinux_2_17_aarch64", &[]);
    wheel(index, "native-part", "1.4", "cp313-cp313-manylinux_2_99_aarch64", &[]);
    wheel(index, "native-part", "1.5", "cp313-cp313-manylinux_2_17_armv7l", &[]);
    let arm = wheel(index, "of-arm", "0.1", "py3-none-any", &[]);
    wheel(index, "of-pc", "0.1", "py3-none-any", &[]);
    let python = wheel(index, "of-python", "1", "cp38-abi3-manylinux2014_aarch64", &[]);
    wheel(index, "of-old-python", "1", "py3-none-any", &[]);

    let chosen = ask(index, &["Demo>=1"], &[]).unwrap();
    let row = |name: &str, version: &str, sum| (name.to_owned(), version.to_owned(), sum);
    let expected = [
        row("demo", "2.0", demo),
        row("native-part", "1.2", native),
        row("of-arm", "0.1", arm),
        row("of-python", "1", python),
    ];
    assert_eq!(chosen, expected);
}

#[test]
fn what_was_locked_stays_until_it_is_asked_for_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path();
    wheel(index, "demo", "1.0", "py3-none-any", &[]);
    wheel(index, "demo", "2.0", "py3-none-any", &[]);
    let version = |requirements: &[&str], kept: &[(&str, &str)]| ask(index, requirements, kept).unwrap()[0].1.clone();
    assert_eq!(version(&["demo"], &[]), "2.0");
    assert_eq!(version(&["demo"], &[("demo", "1.0")]), "1.0");
    let refused = ask(index, &["demo==2.0"], &[("demo", "1.0")]).unwrap_err();
    assert!(matches!(refused, NotChosen::Refused { .. }), "{refused}");
}

#[test]
fn a_package_without_a_wheel_for_the_image_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path();
    wheel(index, "pc-only", "1.0", "cp313-cp313-manylinux2014_x86_64", &[]);
    for requirement in ["pc-only", "nothing-of-that-name"] {
        let said = ask(index, &[requirement], &[]).unwrap_err().to_string();
        assert!(said.contains("Python 3.13 on aarch64") && said.contains(requirement), "{said}");
    }
}
