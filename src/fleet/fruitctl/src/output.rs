//! Lines for the operator. A reader that has gone away has heard enough, and must not stop Pis from being switched; a
//! full disk is told at the end.

pub use fruit_output::{line as print, talk};

/// Prints a value as JSON, its fields in their order.
pub fn json(value: &impl serde::Serialize) -> Result<(), crate::failure::Failure> {
    let refused = |why: serde_json::Error| crate::failure::Failure::new(crate::failure::Code::Refused, why.to_string());
    print(format_args!("{}", serde_json::to_string_pretty(value).map_err(refused)?));
    Ok(())
}
