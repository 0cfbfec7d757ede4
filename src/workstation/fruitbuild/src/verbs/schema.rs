//! `fruitbuild schema`

use crate::cli::SchemaKind;

pub fn schema(kind: SchemaKind) {
    let node = || serde_json::Value::from(schemars::schema_for!(fruit_contract::NodeConfig));
    let value = match kind {
        SchemaKind::Recipe => fruit_recipe::recipe_schema(&[("first_boot", node())]),
        SchemaKind::Board => fruit_recipe::board_schema(),
        SchemaKind::Node => node(),
    };
    outln!("{value:#}");
}
