//! A JSON schema as Markdown: each key with its type, its default and what it means.

use std::collections::BTreeSet;

use serde_json::Value;

use super::command::NOTICE;

/// The page of a file format.
pub fn page(title: &str, schema: &Value) -> String {
    let mut text = format!("{NOTICE}# {title}\n\n");
    if let Some(description) = schema["description"].as_str() {
        text.push_str(&format!("{description}\n\n"));
    }
    let page = Page { root: schema };
    page.table(&mut text, "", schema);
    // Sections in the order in which they are first named, each once.
    let mut seen = BTreeSet::new();
    page.sections(&mut text, "", schema, &mut seen);
    text
}

struct Page<'s> {
    root: &'s Value,
}

impl<'s> Page<'s> {
    /// What a `$ref` leads to.
    fn resolved(&self, schema: &'s Value) -> &'s Value {
        let target = schema["$ref"].as_str().and_then(|path| self.root.pointer(path.strip_prefix('#')?));
        target.map_or(schema, |target| self.resolved(target))
    }

    /// The mapping that a key's value is, or is a list or a mapping of.
    fn mapping(&self, schema: &'s Value) -> Option<&'s Value> {
        let schema = self.resolved(schema);
        if schema["properties"].is_object() {
            return Some(schema);
        }
        let inner = ["items", "additionalProperties"].into_iter().filter_map(|key| schema.get(key));
        let choices = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
        inner.chain(choices).filter(|inner| inner.is_object()).find_map(|inner| self.mapping(inner))
    }

    fn table(&self, text: &mut String, path: &str, schema: &'s Value) {
        let Some(properties) = schema["properties"].as_object() else { return };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        text.push_str("| key | value | meaning |\n|---|---|---|\n");
        for (name, property) in properties {
            let full = format!("{path}{name}");
            let own = property["description"].as_str();
            let description = own.or_else(|| self.resolved(property)["description"].as_str()).unwrap_or_default();
            let mut meaning = cell(description);
            if let Some(default) = property.get("default") {
                meaning.push_str(&format!(" Default: `{}`.", cell(&default.to_string())));
            }
            if required.contains(&name.as_str()) {
                meaning.push_str(" Required.");
            }
            text.push_str(&format!("| `{full}` | {} | {meaning} |\n", self.kind(property, 0)));
        }
        text.push('\n');
    }

    fn sections(&self, text: &mut String, path: &str, schema: &'s Value, seen: &mut BTreeSet<*const Value>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let Some(mapping) = self.mapping(property) else { continue };
            if !seen.insert(std::ptr::from_ref(mapping)) {
                continue;
            }
            let full = format!("{path}{name}");
            text.push_str(&format!("## `{full}`\n\n"));
            if let Some(description) = mapping["description"].as_str().filter(|d| !d.is_empty()) {
                text.push_str(&format!("{description}\n\n"));
            }
            self.table(text, "", mapping);
            self.sections(text, &format!("{full}."), mapping, seen);
        }
    }

    /// What a value looks like, in words.
    fn kind(&self, schema: &'s Value, depth: usize) -> String {
        let schema = self.resolved(schema);
        if depth > 4 {
            return "any".to_owned();
        }
        if let Some(words) = schema["enum"].as_array() {
            return words
                .iter()
                .map(|word| format!("`{}`", cell(word.as_str().unwrap_or(&word.to_string()))))
                .collect::<Vec<_>>()
                .join(", ");
        }
        if let Some(word) = schema.get("const") {
            return format!("`{}`", cell(word.as_str().unwrap_or(&word.to_string())));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[key].as_array() {
                let mut words: Vec<String> = choices.iter().map(|c| self.kind(c, depth + 1)).collect();
                words.retain(|word| word != "nothing");
                words.dedup();
                return words.join(" or ");
            }
        }
        let kind = match &schema["type"] {
            Value::String(kind) => kind.as_str(),
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|k| *k != "null").unwrap_or("any"),
            _ => "any",
        };
        match kind {
            "array" => match schema.get("items") {
                Some(items) => format!("list of {}", self.kind(items, depth + 1)),
                None => "list".to_owned(),
            },
            "object" if schema["properties"].is_object() => "mapping".to_owned(),
            "object" => match schema.get("additionalProperties").filter(|p| p.is_object()) {
                Some(value) => format!("mapping of names to {}", self.kind(value, depth + 1)),
                None => "mapping".to_owned(),
            },
            "string" => "text".to_owned(),
            "integer" => "whole number".to_owned(),
            "number" => "number".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "null" => "nothing".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|")
}
