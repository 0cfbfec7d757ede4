//! `fruitbuild schema`

use crate::cli::SchemaKind;

pub fn schema(kind: SchemaKind) {
    outln!("{:#}", of(kind));
}

/// The schema of a kind of file.
pub fn of(kind: SchemaKind) -> serde_json::Value {
    let node = || serde_json::Value::from(schemars::schema_for!(fruit_contract::NodeConfig));
    match kind {
        SchemaKind::Recipe => fruit_recipe::recipe_schema(&[("first_boot", node())]),
        SchemaKind::Board => fruit_recipe::board_schema(),
        SchemaKind::Node => node(),
    }
}
