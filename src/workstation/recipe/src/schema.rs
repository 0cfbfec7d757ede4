//! JSON schemas for editors, made from the types.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::board::Board;
use crate::recipe::RecipeFile;

/// The schema of a recipe file. `sections` gives the schemas of the sections that other crates read (`first_boot`, `update`,
/// `fleet`, `agent`); a section that is not named accepts any mapping.
pub fn recipe_schema(sections: &[(&str, Value)]) -> Value {
    let mut root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RecipeFile>();
    // Any one file may leave out what another one of its `extends` chain says.
    root.remove("required");
    let mut root = root.to_value();
    for (name, schema) in sections {
        let Some(definition) = root.pointer_mut(&format!("/properties/{name}")).and_then(Value::as_object_mut) else {
            continue;
        };
        let description = definition.get("description").cloned();
        let mut schema = schema.clone();
        let own = schema.as_object_mut().and_then(|object| {
            // Any one file may leave out what another one of its `extends` chain says.
            ["$schema", "title", "required"].iter().for_each(|word| drop(object.remove(*word)));
            object.remove("$defs")
        });
        relocate(&mut schema, name);
        if let (Some(description), Some(object)) = (description, schema.as_object_mut()) {
            object.insert("description".into(), description);
        }
        *definition = schema.as_object().cloned().unwrap_or_default();
        let Some(Value::Object(own)) = own else { continue };
        for (key, mut one) in own {
            relocate(&mut one, name);
            root["$defs"][format!("{name}.{key}")] = one;
        }
    }
    finish(root, "fruitbuild recipe")
}

/// References in a section's schema lead to its own definitions; these stand at the top, each behind the section's name.
fn relocate(schema: &mut Value, section: &str) {
    match schema {
        Value::Object(entries) => {
            if let Some(Value::String(reference)) = entries.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{section}.{name}");
            }
            entries.values_mut().for_each(|value| relocate(value, section));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| relocate(value, section)),
        _ => {}
    }
}

/// The schema of a board file.
pub fn board_schema() -> Value {
    finish(
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Board>().to_value(),
        "fruitbuild board",
    )
}

fn finish(mut root: Value, title: &str) -> Value {
    root["title"] = json!(title);
    root
}
