//! Parts of JSON schemas, as declarations of types make them.

use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

/// The schema of a mapping, key by key.
pub(crate) struct Object {
    description: String,
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Object {
    pub fn new(doc: &[&str]) -> Self {
        Self { description: paragraph(doc), properties: Map::new(), required: Vec::new() }
    }

    pub fn property(&mut self, name: &str, schema: Schema, doc: &[&str], default: Option<Value>, required: bool) {
        let mut schema = schema.to_value();
        if schema["type"] == "array" {
            schema = list(schema["items"].clone()).to_value();
        }
        let description = paragraph(doc);
        // In draft 2020-12 a `$ref` may have siblings, so the description of the key stands beside it.
        if let Some(object) = schema.as_object_mut() {
            if !description.is_empty() {
                object.insert("description".into(), description.into());
            }
            if let Some(default) = default.filter(|d| !d.is_null()) {
                object.insert("default".into(), default);
            }
        }
        self.properties.insert(name.into(), schema);
        if required {
            self.required.push(name.into());
        }
    }

    pub fn finish(self) -> Schema {
        let mut schema = json_schema!({
            "type": "object",
            "description": self.description,
            "properties": self.properties,
            "additionalProperties": false,
        });
        if !self.required.is_empty() {
            schema.insert("required".into(), self.required.into());
        }
        schema
    }
}

/// The schema of an enum of words.
pub(crate) fn words(doc: &[&str], words: &[(&str, &[&str])]) -> Schema {
    let each: Vec<Value> =
        words.iter().map(|(word, doc)| json!({"const": word, "description": paragraph(doc)})).collect();
    json_schema!({"description": paragraph(doc), "type": "string", "oneOf": each})
}

/// The schema of a text; a plain number or boolean in YAML is a text too.
pub(crate) fn text(doc: &[&str], pattern: Option<&&str>) -> Schema {
    let mut schema = json_schema!({"description": paragraph(doc), "type": ["string", "number", "boolean"]});
    if let Some(pattern) = pattern {
        // A variable may stand in any text.
        schema.insert("pattern".into(), format!(r"{pattern}|\$\{{[a-z][a-z0-9_]*\}}").into());
    }
    schema
}

/// The schema of a list: the entries, or a change to the inherited list.
fn list(entry: Value) -> Schema {
    json_schema!({
        "anyOf": [
            {"type": "array", "items": entry},
            {
                "type": "object",
                "description": "A change to the inherited list.",
                "properties": {
                    "add": {"type": "array", "items": entry, "description": "Entries to append."},
                    "remove": {"type": "array", "items": {"type": ["string", "number"]}, "description": "Inherited entries to drop."},
                    "only": {"type": "array", "items": entry, "description": "Entries to use instead of the inherited ones."},
                },
                "additionalProperties": false,
            },
        ]
    })
}

/// Doc comment lines as one text, paragraphs kept.
fn paragraph(doc: &[&str]) -> String {
    let mut out = String::new();
    for line in doc {
        let line = line.trim();
        if line.is_empty() {
            out.push_str("\n\n");
        } else {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push(' ');
            }
            out.push_str(line);
        }
    }
    out
}
