//! The exact text of diagnostics. `tests/bad/NAME.yaml` is the mistake, `NAME.txt` what is shown for it.
//!
//! To write the texts anew after a change of wording: `BLESS=1 cargo test -p fruit-recipe --test recipe-tests`, then read the diff.

use std::path::{Path, PathBuf};

use fruit_recipe::{Diagnostic, Search, check_recipe, load};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

/// What `load` says about a file, with paths relative to the folder.
fn said_about(path: &Path) -> String {
    let search = Search {
        boards: vec![folder().join("boards")],
        overlays: vec![folder().join("overlays")],
        ..Search::default()
    };
    match load(path, &search) {
        Ok(_) => "accepted".into(),
        Err(found) => found.render(false).replace(&format!("{}/", folder().display()), ""),
    }
}

#[test]
fn every_mistake_is_shown_in_exactly_these_words() {
    let mut different = Vec::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 15, "only {} files", files.len());
    for path in files {
        let said = said_about(&path) + "\n";
        let expected = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &said).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != said {
            different.push(format!("--- {}\n{said}", path.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn a_password_in_clear_does_not_reach_a_build_log() {
    let path = Path::new("recipe.yaml");
    let found = check_recipe(path, b"name: demo\nboard: b\nusers: {pi: {uid: 1, password: hunter2}}\n").unwrap_err();
    let shown = format!("{}{}{}", found.render(false), found.render(true), found.to_json());
    assert!(shown.contains("plain password is never taken") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn json_carries_what_an_editor_needs() {
    let found = check_recipe(Path::new("r.yaml"), "# ä\nnmae: demo\nboard: b\n".as_bytes()).unwrap_err().to_json();
    let unknown = found.as_array().unwrap().iter().find(|d| d["message"] == "unknown key `nmae`").unwrap();
    assert_eq!(unknown["severity"], "error");
    assert_eq!(unknown["suggestion"], "name");
    let at = serde_json::json!({"file": "r.yaml", "line": 2, "column": 1, "start": 5, "end": 9});
    assert_eq!(unknown["at"], at);
}

#[test]
fn colour_comes_only_when_asked_for() {
    let found = check_recipe(Path::new("r.yaml"), b"nmae: demo\n").unwrap_err();
    assert!(!found.render(false).contains('\u{1b}'));
    assert!(found.render(true).contains('\u{1b}'));
}

#[test]
fn a_later_step_can_point_at_the_line_of_a_package() {
    let text = b"name: demo\nboard: b\npackages:\n  - bash\n  - opensh-server\n";
    let recipe = check_recipe(Path::new("r.yaml"), text).unwrap();
    let known = ["openssh-client", "openssh-server", "bash"];
    let shown = Diagnostic::at(&recipe.packages[1], "no package `opensh-server` in trixie", known).render(false);
    let expected = "\
error: no package `opensh-server` in trixie
 --> r.yaml:5:5
  |
5 |   - opensh-server
  |     ^^^^^^^^^^^^^
  |
  = help: did you mean `openssh-server`?";
    assert_eq!(shown, expected);
}
