//! The reference pages say what the programs say.

#[test]
fn the_reference_pages_are_those_of_the_programs() {
    let top = fruit_dist::source::top().unwrap();
    let pages = fruit_dist::reference::pages().unwrap();
    for (name, text) in &pages {
        let path = top.join(fruit_dist::reference::FOLDER).join(name);
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == *text,
            "{name} is out of date; run: cargo build --workspace && cargo run -p fruit-dist -- reference"
        );
    }
    let folder = std::fs::read_dir(top.join(fruit_dist::reference::FOLDER)).unwrap();
    for entry in folder {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(pages.contains_key(&name), "{name} belongs to nothing that is documented; remove it");
    }
}
