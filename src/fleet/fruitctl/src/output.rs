//! Lines for the operator. A reader that has gone away has heard enough, and must not stop Pis from being switched; a
//! full disk is told at the end.

pub use fruit_output::{line as print, talk};

/// Prints a value as JSON, its fields in their order.
pub fn json(value: &impl serde::Serialize) -> serde_json::Result<()> {
    print(format_args!("{}", serde_json::to_string_pretty(value)?));
    Ok(())
}
