//! The schemas that editors use, held against the reader.

use std::path::Path;

use fruit_recipe::{board_schema, check_recipe, read_str, recipe_schema};
use serde_json::Value;

/// Whether `value` obeys `schema`: the words of JSON Schema that ours use, and a panic on any other.
fn obeys(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema != &Value::Bool(false) };
    schema.iter().all(|(word, rule)| match word.as_str() {
        "$schema" | "$defs" | "title" | "description" | "default" | "pattern" => true,
        "$ref" => obeys(root, root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "type" => {
            let is = |t: &Value| match t.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                other => panic!("type {other}"),
            };
            rule.as_array().map_or_else(|| is(rule), |all| all.iter().any(is))
        }
        "properties" => value
            .as_object()
            .is_none_or(|o| o.iter().all(|(key, value)| rule.get(key).is_none_or(|schema| obeys(root, schema, value)))),
        "additionalProperties" => value.as_object().is_none_or(|o| {
            let known = schema.get("properties").and_then(Value::as_object);
            o.iter().filter(|(key, _)| known.is_none_or(|k| !k.contains_key(*key))).all(|(_, v)| obeys(root, rule, v))
        }),
        "required" => value
            .as_object()
            .is_none_or(|o| rule.as_array().unwrap().iter().all(|k| o.contains_key(k.as_str().unwrap()))),
        "items" => value.as_array().is_none_or(|a| a.iter().all(|v| obeys(root, rule, v))),
        "anyOf" => rule.as_array().unwrap().iter().any(|s| obeys(root, s, value)),
        "oneOf" => rule.as_array().unwrap().iter().filter(|s| obeys(root, s, value)).count() == 1,
        "const" => rule == value,
        "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|v| v <= rule.as_f64().unwrap()),
        other => panic!("a word that this test does not know: {other}"),
    })
}

fn yaml(text: &str) -> Value {
    read_str(Path::new("x.yaml"), text).unwrap_or_else(|found| panic!("{found}"))
}

fn shipped(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    paths
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .map(|p| (p.display().to_string(), yaml(&std::fs::read_to_string(&p).unwrap())))
        .collect()
}

#[test]
fn the_schemas_accept_every_shipped_file() {
    for (schema, folder) in [(recipe_schema(&[]), "recipes"), (board_schema(), "boards")] {
        for (path, value) in shipped(folder) {
            assert!(obeys(&schema, &schema, &value), "{path}");
        }
    }
}

#[test]
fn the_schema_and_the_reader_refuse_the_same_mistakes() {
    let schema = recipe_schema(&[]);
    for (line, good) in [
        ("packages: [bash]", true),
        ("packages: {only: [bash]}", true),
        ("packages: bash", false),
        ("packages: {with: [bash]}", false),
        ("pakages: []", false),
        ("init: busybox", true),
        ("init: upstart", false),
        ("outputs: {zstd_level: 22}", true),
        ("outputs: {zstd_level: 23}", false),
        ("outputs: {img: maybe}", false),
        ("partitions: {root: auto}", true),
        ("partitions: {root: 64MiB}", true),
        ("users: {pi: {groups: [sudo]}}", true),
        ("users: {pi: {group: [sudo]}}", false),
        ("users: [pi]", false),
        ("agent: {anything: goes}", true),
        ("agent: []", false),
        ("version: 1.10", true),
        ("kernel: {modules: [loop], load: []}", true),
        ("kernel: {module: [loop]}", false),
    ] {
        let text = format!("name: demo\nboard: b\n{line}\n");
        assert_eq!(check_recipe(Path::new("r"), text.as_bytes()).is_ok(), good, "reader: {line}");
        assert_eq!(obeys(&schema, &schema, &yaml(&text)), good, "schema: {line}");
    }
}

#[test]
fn every_key_is_described() {
    fn walk(path: &str, schema: &Value) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, property) in properties {
                // A loader's name stands for the mapping below it.
                let described = property["description"].as_str().is_some_and(|d| d.len() > 5);
                assert!(described || matches!(key.as_str(), "u_boot" | "tryboot"), "{path}/{key} has no description");
                assert!(property.get("$ref").is_some() || property.as_object().unwrap().len() > 1, "{path}/{key}");
            }
        }
        if let Some(object) = schema.as_object() {
            object.iter().for_each(|(key, value)| walk(&format!("{path}/{key}"), value));
        }
        if let Some(list) = schema.as_array() {
            list.iter().for_each(|value| walk(path, value));
        }
    }
    walk("recipe", &recipe_schema(&[]));
    walk("board", &board_schema());
}

#[test]
fn the_schema_of_a_section_is_the_one_that_its_crate_gives() {
    let agent = serde_json::json!({"type": "object", "properties": {"beat": {"type": "integer"}}, "additionalProperties": false});
    let schema = recipe_schema(&[("agent", agent)]);
    assert!(obeys(&schema, &schema, &yaml("agent: {beat: 5}")));
    assert!(!obeys(&schema, &schema, &yaml("agent: {beet: 5}")));
    assert!(schema["properties"]["agent"]["description"].as_str().unwrap().contains("fruit-agent"));
}
