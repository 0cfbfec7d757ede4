//! In which order packages are unpacked: what a package depends on comes before it.

use std::collections::BTreeMap;

use crate::package::Control;
use crate::relation::Relations;

/// Indices of `packages`: dependencies first, else by name; where dependencies run in a circle, the package whose name
/// comes first is reached first. The outcome does not depend on the order given.
pub fn dependency_order(packages: &[&Control]) -> Vec<usize> {
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    let mut provided: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, package) in packages.iter().enumerate() {
        by_name.insert(package.name(), number);
        for name in names(package, "Provides") {
            provided.entry(name).or_default().push(number);
        }
    }
    for numbers in provided.values_mut() {
        numbers.sort_by_key(|number| packages[*number].name());
    }
    let needs = |number: usize| {
        let mut all = Vec::new();
        for field in ["Pre-Depends", "Depends"] {
            for name in names(packages[number], field) {
                match by_name.get(name.as_str()) {
                    Some(number) => all.push(*number),
                    None => all.extend(provided.get(&name).into_iter().flatten()),
                }
            }
        }
        all
    };
    let mut order = Vec::with_capacity(packages.len());
    let mut reached = vec![false; packages.len()];
    // Each with the dependencies that are still to be visited; a stack of our own, however deep they go.
    let mut stack: Vec<(usize, std::vec::IntoIter<usize>)> = Vec::new();
    for root in by_name.values() {
        if !std::mem::replace(&mut reached[*root], true) {
            stack.push((*root, needs(*root).into_iter()));
        }
        while let Some((number, rest)) = stack.last_mut() {
            match rest.next() {
                Some(next) if !std::mem::replace(&mut reached[next], true) => {
                    stack.push((next, needs(next).into_iter()));
                }
                Some(_) => {}
                None => {
                    order.push(*number);
                    stack.pop();
                }
            }
        }
    }
    order
}

/// Names in a relations field, alternatives included; a text that cannot be parsed has none.
fn names(package: &Control, field: &str) -> Vec<String> {
    let relations = Relations::parse(package.paragraph.get(field).unwrap_or("")).unwrap_or_default();
    relations.0.into_iter().flat_map(|clause| clause.0).map(|relation| relation.name).collect()
}
