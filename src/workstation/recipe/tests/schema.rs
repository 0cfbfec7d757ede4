//! The schemas that editors use, held against the reader.

use std::path::Path;

use crate::validator::Validator;
use fruit_recipe::{board_schema, check_recipe, read_str, recipe_schema};
use serde_json::Value;

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
    for (schema, folder) in
        [(recipe_schema(&[]), "recipes"), (recipe_schema(&[]), "examples/recipes"), (board_schema(), "boards")]
    {
        let validator = Validator::new(&schema);
        for (path, value) in shipped(folder) {
            validator.validate(&value).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
}

#[test]
fn the_schema_and_the_reader_refuse_the_same_mistakes() {
    let schema = Validator::new(&recipe_schema(&[]));
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
        ("packages: [bash, libstdc++6]", true),
        ("packages: [Bash]", false),
        ("packages: [bash=5.2]", false),
        ("hostname: \"node-{serial:8}.example.org\"", true),
        ("hostname: node_1", false),
        ("timezone: Etc/GMT+5", true),
        ("timezone: \"+02:00\"", false),
        ("locale: en_GB", false),
        ("services: {enable: [ssh.service]}", true),
        ("services: {enable: [ssh]}", false),
        ("users: {Pi: {}}", false),
        ("overlays: [\"my overlay\"]", false),
        ("users: {pi: {ssh_keys: [\"ssh-dss AAAA\"]}}", false),
        ("users: {pi: {password: hunter2}}", false),
        ("kernel: {command_line: [quiet, \"a b\"]}", false),
        ("files: {/etc/motd: \"Hello\\n\"}", true),
        ("files: {/etc/motd: {content: x, owner: \"root:adm\", mode: \"0640\", replace: true}}", true),
        ("files: {etc/motd: x}", false),
        ("files: {/etc/motd: {mode: \"0640\"}}", false),
        ("files: {/etc/motd: {content: x, mode: \"u=rw\"}}", false),
        ("sysctl: {vm.swappiness: 10, net/ipv4/ip_forward: \"1\"}", true),
        ("sysctl: {swappiness: 10}", false),
        ("sysctl: {vm.overcommit: true}", false),
        ("downloads: {k3s: {url: \"https://a.example/k3s-${machine}\", to: /usr/bin/k3s, mode: \"0755\"}}", true),
        ("downloads: {k: {url: {arm64: \"https://a.example/k\"}, files: [{from: \"*/bin/*\", to: /usr/bin/}]}}", true),
        (
            "state: [/var/lib/containers]\ncontainers: {web: {image: \"docker.io/library/nginx:1\", run: {publish: [\"80:80\"], environment: {A: b}}}}",
            true,
        ),
        ("state: [/var/lib/containers]\ncontainers: {web: {archive: web.tar}}", true),
        ("state: [/var/lib/containers]\ncontainers: {web: {image: nginx}}", false),
        ("state: [/var/lib/containers]\ncontainers: {web: {archive: web.tar, run: {comand: [x]}}}", false),
        ("downloads: {k: {url: {arm46: \"https://a.example/k\"}, to: /usr/bin/k}}", false),
        ("downloads: {k: {url: \"ftp://a.example/k\", to: /usr/bin/k}}", false),
        ("downloads: {k: {url: \"https://a.example/k\", sha256: abc, to: /usr/bin/k}}", false),
        ("downloads: {k: {url: \"https://a.example/k\", files: [{from: /bin, to: /usr/bin/}]}}", false),
        ("groups: {gpio: {gid: 900}}", true),
        ("groups: {gpio: {id: 900}}", false),
        ("users: {ada: {group: gpio, system: true}}", true),
        ("variables: {a: 1, b: {kind: text, values: [x, y], default: x}}", true),
        ("variables: {a: {type: text}}", false),
        ("variables: {channel: stable}\nhostname: \"${channel}\"", true),
        ("distribution: {suite: trixie/updates}", true),
        ("distribution: {suite: \"a b\"}", false),
        ("repositories: {case: {url: \"https://a.example/x\", suite: ./, key: k}}", true),
        ("repositories: {case: {url: \"ftp://a.example/x\", suite: ./, key: k}}", false),
        ("repositories: {\"my case\": {url: \"https://a.example/x\", suite: ./, key: k}}", false),
    ] {
        let text = format!("name: demo\nboard: b\n{line}\n");
        assert_eq!(check_recipe(Path::new("r"), text.as_bytes()).is_ok(), good, "reader: {line}");
        assert_eq!(schema.validate(&yaml(&text)).is_ok(), good, "schema: {line}");
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
    let validator = Validator::new(&schema);
    assert!(validator.validate(&yaml("agent: {beat: 5}")).is_ok());
    assert!(validator.validate(&yaml("agent: {beet: 5}")).is_err());
    assert!(schema["properties"]["agent"]["description"].as_str().unwrap().contains("fruit-agent"));
}
