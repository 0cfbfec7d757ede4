//! The example files keep up with the program.

use fruit_stack::metrics::render;
use fruit_stack::stacks::Stacks;
use fruit_stack::status::{StackStatus, read_board};
use fruit_stack_simulator::{Flash, LineConfig, Loopback, Stack, StackConfig};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples").join(name)
}

#[test]
fn the_example_stacks_file_is_valid() {
    let stacks = Stacks::load(&example("stacks.yaml")).unwrap();
    assert_eq!(stacks.entries().len(), 2);
}

fn metric_names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("fruit_stack_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_example_dashboard_asks_for_metrics_that_exist() {
    let stack = Arc::new(Mutex::new(Stack::new(&StackConfig::default(), &Flash::default()).unwrap()));
    let line = Loopback::new(stack, LineConfig::instant());
    let mut master = fruit_stack::master::Master::new(Box::new(line), Default::default());
    let board = read_board(&mut master, 0, None);
    let offered = render(&[StackStatus { stack: "rack1".into(), boards: vec![board], line: master.counts() }]);
    let text = std::fs::read_to_string(example("grafana-pi-stacks.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let (asked, offered) = (metric_names(&text), metric_names(&offered));
    assert!(asked.len() > 8);
    assert!(asked.is_subset(&offered), "{:?}", asked.difference(&offered));
}
