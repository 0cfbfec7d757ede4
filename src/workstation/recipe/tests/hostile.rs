//! Input that nobody should write, and that must not bring the reader down.

use std::path::Path;

use fruit_recipe::{MAX_BYTES, MAX_DEPTH, check_board, check_recipe};
use proptest::prelude::*;

/// Reads as both kinds of file and renders what is found in all forms.
fn survive(bytes: &[u8]) -> String {
    let path = Path::new("hostile.yaml");
    let mut shown = String::new();
    if let Err(found) = check_recipe(path, bytes) {
        shown = found.render(false);
        assert!(!shown.is_empty());
        found.render(true);
        found.to_json();
    }
    if let Err(found) = check_board(path, bytes) {
        found.render(false);
    }
    shown
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let refs = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("a{n}: &a{n} [{refs}]\n");
    }
    assert!(survive(text.as_bytes()).contains("more than 20000 values"));
}

#[test]
fn a_ladder_of_aliases_does_not_get_round_the_depth_limit() {
    let mut text = String::from("a0: &a0 [x]\n");
    for n in 1..2000 {
        text += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
    }
    assert!(survive(text.as_bytes()).contains(&format!("more than {MAX_DEPTH} levels")));
}

#[test]
fn an_alias_of_itself_is_refused() {
    assert!(survive(b"a: &a [*a]\n").contains("inside the value it refers to"));
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["[".repeat(100_000), "{a: ".repeat(50_000), "- ".repeat(100_000), "a:\n".repeat(1000)] {
        survive(text.as_bytes());
    }
    assert!(survive(format!("name: {}{}", "[".repeat(50), "]".repeat(50)).as_bytes()).contains("levels deep"));
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let text = format!("name: {}\n", "x".repeat(MAX_BYTES));
    assert!(survive(text.as_bytes()).contains("more than the 1048576 that are read"));
}

#[test]
fn bytes_that_are_no_text_are_shown_where_they_stand() {
    assert!(survive(b"name: caf\xe9\n").contains("hostile.yaml:1:10"));
    survive(&[0xff, 0xfe, 0, 0]);
    survive(b"\0\0\0");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let recipe =
        check_recipe(Path::new("r"), b"\xef\xbb\xbfname: demo\r\nboard: b\r\npackages:\r\n  - bash\r\n").unwrap();
    assert_eq!(recipe.name.as_str(), "demo");
    let shown = survive(b"\xef\xbb\xbfname: demo\r\nboard: b\r\npakages: []\r\n");
    assert!(shown.contains("hostile.yaml:3:1") && shown.contains("^^^^^^^ not a key"), "{shown}");
}

#[test]
fn json_is_yaml_too() {
    let text = br#"{"name": "demo", "board": "b", "packages": ["bash"], "recommends": true}"#;
    assert!(check_recipe(Path::new("r.json"), text).unwrap().recommends);
}

#[test]
fn an_empty_file_and_a_second_document_are_explained() {
    assert!(survive(b"").contains("the key `name` is missing"));
    assert!(survive(b"# nothing\n").contains("the key `name` is missing"));
    assert!(survive(b"name: a\n---\nname: b\n").contains("a second YAML document"));
    assert!(survive(b"just text").contains("expected a recipe, found the text `just text`"));
    assert!(survive(b"- a\n- b\n").contains("expected a recipe, found a list"));
}

const SEEDS: &[&str] = &[
    include_str!("../../../../recipes/pistack.yaml"),
    include_str!("../../../../recipes/base-systemd.yaml"),
    include_str!("../../../../boards/raspberrypi3.yaml"),
    include_str!("bad/logins.yaml"),
    include_str!("bad/list-edit.yaml"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        survive(&bytes);
    }

    #[test]
    fn random_yaml_like_text_never_panics(text in "([a-z]{1,6}|[:\\-\\[\\]{},&*!|>'\"#%@`~ \n\t]|ä|\u{1f350}|null|<<|[0-9]{1,3}){0,80}") {
        survive(text.as_bytes());
    }

    #[test]
    fn damaged_files_never_panic(
        seed in 0..SEEDS.len(),
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0..12usize, "[ -~\n\u{e4}]{0,8}"), 1..6),
    ) {
        let mut text = SEEDS[seed].as_bytes().to_vec();
        for (at, length, put) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, put.bytes());
        }
        survive(&text);
    }

    #[test]
    fn what_is_said_about_a_misspelt_key_names_the_right_one(at in 1..5usize) {
        // Two letters of `packages` swapped.
        let mut key: Vec<u8> = b"packages".to_vec();
        key.swap(at, at + 1);
        let key = String::from_utf8(key).unwrap();
        prop_assume!(key != "packages");
        let text = format!("name: a\nboard: b\n{key}: []\n");
        let said = survive(text.as_bytes());
        prop_assert!(said.contains("did you mean `packages`?"), "{}", said);
    }
}
