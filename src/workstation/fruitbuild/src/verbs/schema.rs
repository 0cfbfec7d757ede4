//! `fruitbuild schema`

use crate::cli::SchemaKind;

pub fn schema(kind: SchemaKind) {
    outln!("{:#}", of(kind));
}

/// The schema of a kind of file.
pub fn of(kind: SchemaKind) -> serde_json::Value {
    let node = || serde_json::Value::from(schemars::schema_for!(fruit_contract::NodeConfig));
    match kind {
        SchemaKind::Recipe => fruit_recipe::recipe_schema(&[
            ("first_boot", node()),
            ("update", schemars::schema_for!(fruit_contract::update::config::UpdateConfig).into()),
            ("fleet", schemars::schema_for!(fruit_contract::peer::config::PeerConfig).into()),
            ("agent", schemars::schema_for!(fruit_contract::agent::config::AgentConfig).into()),
        ]),
        SchemaKind::Board => fruit_recipe::board_schema(),
        SchemaKind::Node => node(),
    }
}

#[cfg(test)]
#[path = "../../../recipe/tests/validator/mod.rs"]
mod validator;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::validator::Validator;
    use super::*;

    const KINDS: [SchemaKind; 3] = [SchemaKind::Recipe, SchemaKind::Board, SchemaKind::Node];

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                found.extend(entries.get("$ref").and_then(Value::as_str).map(str::to_owned));
                entries.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for kind in KINDS {
            let schema = of(kind);
            let mut all = Vec::new();
            references(&schema, &mut all);
            assert!(!all.is_empty());
            for reference in all {
                let at = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of the schema"));
                assert!(schema.pointer(at).is_some(), "{kind:?}: {reference} leads nowhere");
            }
            Validator::new(&schema);
        }
    }

    fn top() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
    }

    fn read(text: &str) -> Value {
        fruit_recipe::read_str(Path::new("x.yaml"), text).unwrap_or_else(|found| panic!("{text}{found}"))
    }

    #[test]
    fn the_schemas_take_every_file_of_the_project() {
        for (kind, folder) in
            [(SchemaKind::Recipe, "recipes"), (SchemaKind::Recipe, "tests/recipes"), (SchemaKind::Board, "boards")]
        {
            let schema = Validator::new(&of(kind));
            let files = std::fs::read_dir(top().join(folder)).unwrap().map(|entry| entry.unwrap().path());
            let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
            assert!(!files.is_empty(), "{folder}");
            for path in files {
                let value = read(&std::fs::read_to_string(&path).unwrap());
                schema.validate(&value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        }
        // The template of fruit.yaml, with all that it proposes.
        let template = fruit_contract::fruit_yaml_template().replace("\r\n", "\n");
        let (_, keys) = template.split_once("# Host name").unwrap();
        let is_key = |line: &&str| !line.starts_with(|c: char| c.is_ascii_uppercase());
        let text: String = keys
            .lines()
            .skip(1)
            .filter_map(|line| line.strip_prefix("# "))
            .filter(is_key)
            .map(|line| format!("{line}\n"))
            .collect();
        let schema = Validator::new(&of(SchemaKind::Node));
        let value = read(&text);
        assert!(value.as_object().unwrap().len() > 8, "{value:#}");
        schema.validate(&value).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }

    #[test]
    fn the_sections_of_a_recipe_have_the_keys_of_the_programs_that_read_them() {
        let schema = of(SchemaKind::Recipe);
        let resolved = |mut value: Value| {
            while let Some(reference) = value["$ref"].as_str() {
                value = schema.pointer(reference.trim_start_matches('#')).unwrap().clone();
            }
            value
        };
        for (name, keys) in [
            ("update", &["root", "sources", "check", "windows", "tries", "proxy", "health", "clone"][..]),
            ("fleet", &["port", "mdns", "site", "cache_mib", "serve"]),
            ("agent", &["board", "lines", "heartbeat", "signal", "health", "watchdog", "metrics", "state"]),
            ("first_boot", &["hostname", "network", "wifi", "keyboard"]),
        ] {
            let section = resolved(schema["properties"][name].clone());
            assert_eq!(section["additionalProperties"], Value::Bool(false), "{name}");
            for key in keys {
                let property = &section["properties"][*key];
                let text = |value: &Value| value["description"].as_str().map(str::to_owned);
                let described = text(property).or_else(|| text(&resolved(property.clone())));
                assert!(described.is_some_and(|text| text.len() > 5), "{name}.{key} is not described: {property}");
            }
        }
    }

    #[test]
    fn the_schema_and_the_program_refuse_the_same_mistakes_in_sections() {
        let schema = Validator::new(&of(SchemaKind::Recipe));
        for (text, good) in [
            ("update: {sources: [\"https://a.example/x\", usb, /media/stick]}", true),
            ("update: {sources: [ftp://a.example]}", false),
            ("update: {check: manual}", true),
            ("update: {check: {every: 6h, jitter: 30min}}", true),
            ("update: {check: often}", false),
            ("update: {bandwidth: 500K, tries: 7, windows: [\"Mon-Fri 01:00-04:00\"]}", true),
            ("update: {tries: 8}", false),
            ("update: {bandwidth: 500}", false),
            ("update: {health: {units: [ssh.service], reach: [gateway, \"10.0.0.1:443\"]}}", true),
            ("update: {health: {units: [ssh]}}", false),
            ("update: {healths: {}}", false),
            ("update: {sources: [peers]}", true),
            ("fleet: {}", true),
            ("fleet: {site: berlin, serve: [/srv/releases]}", true),
            ("fleet: {port: 70000}", false),
            ("fleet: {ports: 1}", false),
            ("agent: {heartbeat: {high: 200ms, interval: 5s, priority: 50}}", true),
            ("agent: {heartbeat: {high: soon}}", false),
            ("agent: {heartbeat: {priority: 0}}", false),
            ("agent: {lines: {chip: auto, heartbeat: 5}}", true),
            ("agent: {lines: {heartbeat: 64}}", false),
            ("agent: {health: {memory: {limit: 20%}}}", true),
            ("agent: {health: {memory: {limit: 20}}}", false),
            ("agent: {watchdog: {device: none}}", true),
            ("first_boot: {hostname: \"{name}-{serial:6}\"}", true),
            ("first_boot: {hostname: a_b}", false),
            ("first_boot: {keyboard: \"de(nodeadkeys)\"}", true),
        ] {
            assert_eq!(schema.validate(&read(text)).is_ok(), good, "schema: {text}");
            let (section, body) = text.split_once(": ").unwrap();
            let read = match section {
                "update" => {
                    let body = body.replacen('{', "{root: r.json, ", 1);
                    fruit_contract::update::config::UpdateConfig::from_yaml(&body, "x").is_ok()
                }
                "fleet" => fruit_contract::peer::config::PeerConfig::from_yaml(body, "x").is_ok(),
                "agent" => fruit_contract::agent::config::AgentConfig::from_yaml(body, "x").is_ok(),
                _ => good,
            };
            assert_eq!(read, good, "program: {text}");
        }
    }
}
