//! Reads `fruit.yaml` so that a mistake costs only what it stands in: the rest applies, and each mistake is reported
//! with its line. A broken list item is left out; a broken group (one interface, one Wi-Fi network) is left out whole;
//! a key that nobody knows is only reported.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::{LabelKey, LabelValue, MAX_LABELS, NodeConfig};
use crate::network::Interface;
use crate::text::shown;
use crate::wifi::{Eap, EapMethod, Phase2, Wifi, WifiNetwork};
use crate::yaml::{self, Node, Position, Value};

/// Most items of a list; the rest is reported and left out.
const MAX_ITEMS: usize = 64;
/// Most problems that are kept; a file of rubbish must not fill the journal.
const MAX_PROBLEMS: usize = 50;

/// One mistake in the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// From 1; absent for what concerns the whole file or was found on the node.
    #[serde(default)]
    pub line: Option<u32>,
    #[serde(default)]
    pub column: Option<u32>,
    /// Where in the structure, such as `network[0].dns`; empty for the whole file.
    pub key: String,
    /// What is wrong and what would be right; one line.
    pub message: String,
}

/// `fruit.yaml:12: network[0].dns: …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::init::NODE_CONFIG_NAME)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Reads the file. Never fails: with nothing usable in it the configuration is empty and the problems say why.
pub fn read(file: &[u8]) -> (NodeConfig, Vec<Problem>) {
    let mut reader = Reader::default();
    reader.invisible(file);
    let config = match yaml::parse(file) {
        Ok(None) => NodeConfig::default(),
        Ok(Some(node)) => reader.config(&node),
        Err(error) => {
            match reader.problems.last_mut().filter(|_| !reader.invisible.is_empty()) {
                // What the parser says of such a character is a riddle.
                Some(problem) => problem.message += "; until then nothing of this file applies",
                None => {
                    let message = format!("{}; nothing of this file applies", error.message);
                    reader.report(error.position, "", message);
                }
            }
            NodeConfig::default()
        }
    };
    (config, reader.problems)
}

/// Line of a top-level key, for mistakes that only the node finds, such as a time zone that its image lacks.
pub fn line_of(file: &[u8], key: &str) -> Option<u32> {
    match yaml::parse(file) {
        Ok(Some(Node { value: Value::Map(entries), .. })) => {
            entries.iter().find(|(k, _)| k.text == key).map(|(k, _)| k.position.line)
        }
        _ => None,
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
    /// Lines with characters that nobody can see; what else is found there is their doing.
    invisible: Vec<u32>,
}

/// The keys of one group.
struct Fields<'a> {
    path: String,
    position: Position,
    entries: Vec<(&'a str, &'a Node)>,
}

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<(&'a Node, String)> {
        let node = self.entries.iter().find(|(k, _)| *k == key)?.1;
        Some((node, join(&self.path, key)))
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

/// A field of a group: absent, right, or wrong (reported already).
enum Field<T> {
    Absent,
    Wrong,
    Is(T),
}

impl<T> Field<T> {
    /// What applies where a wrong value is like an absent one.
    fn usable(self) -> Option<T> {
        match self {
            Field::Is(value) => Some(value),
            Field::Absent | Field::Wrong => None,
        }
    }

    /// For groups that a wrong value spoils: `None` then.
    fn unless_wrong(self) -> Option<Option<T>> {
        match self {
            Field::Is(value) => Some(Some(value)),
            Field::Absent => Some(None),
            Field::Wrong => None,
        }
    }
}

impl Reader {
    fn report(&mut self, position: Option<Position>, path: &str, message: String) {
        // A key whose value begins on such a line seems to have none.
        let spoilt = |line: u32| self.invisible.contains(&line) || self.invisible.contains(&(line + 1));
        if position.is_some_and(|position| spoilt(position.line)) {
            return;
        }
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                line: position.map(|p| p.line),
                column: position.map(|p| p.column),
                key: path.into(),
                // One line whatever a parser says.
                message: message.replace(['\n', '\r'], " "),
            });
        } else if self.problems.len() == MAX_PROBLEMS {
            self.problems.push(Problem { line: None, column: None, key: String::new(), message: "and more".into() });
        }
    }

    /// Reports what nobody can see in the file, since other messages about it would be riddles.
    fn invisible(&mut self, file: &[u8]) {
        let Ok(text) = str::from_utf8(file.get(..yaml::MAX_FILE).unwrap_or(file)) else { return };
        let (mut line, mut counted) = (1, 0);
        let mut lines = Vec::new();
        for (at, c) in fruit_base::invisible::find(text) {
            line += text[counted..at].matches('\n').count() as u32;
            counted = at;
            // Once for each line.
            if lines.last() != Some(&line)
                && let Some(name) = fruit_base::invisible::name(c)
            {
                let column = 1 + text[..at].chars().rev().take_while(|c| *c != '\n').count() as u32;
                let message = format!("the character {name} stands here: {}", fruit_base::invisible::REMEDY);
                self.report(Some(Position { line, column }), "", message);
                lines.push(line);
            }
        }
        self.invisible = lines;
    }

    fn fields<'a>(&mut self, node: &'a Node, path: &str, known: &[&str]) -> Option<Fields<'a>> {
        let Value::Map(entries) = &node.value else {
            let keys = known.join(", ");
            self.report(Some(node.position), path, format!("{}, expected a group of the keys {keys}", node.kind()));
            return None;
        };
        let mut kept: Vec<(&str, &Node)> = Vec::new();
        for (key, value) in entries {
            let name = key.text.as_str();
            let at = join(path, &shown(name));
            if !known.contains(&name) {
                self.report(Some(key.position), &at, unknown_key(name, known));
            } else if kept.iter().any(|(k, _)| *k == name) {
                self.report(Some(key.position), &at, "given twice; the first one applies".into());
            } else if value.is_null() {
                self.report(Some(key.position), &at, "has no value; delete the line or give it one".into());
            } else {
                kept.push((name, value));
            }
        }
        Some(Fields { path: path.into(), position: node.position, entries: kept })
    }

    fn text<'a>(&mut self, node: &'a Node, path: &str) -> Option<&'a str> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => Some(text),
            _ => {
                self.report(Some(node.position), path, format!("{}, expected text", node.kind()));
                None
            }
        }
    }

    fn parse<T: FromStr<Err = String>>(&mut self, node: &Node, path: &str) -> Option<T> {
        let parsed = self.text(node, path)?.parse();
        parsed.map_err(|message| self.report(Some(node.position), path, message)).ok()
    }

    fn value<T: FromStr<Err = String>>(&mut self, fields: &Fields<'_>, key: &str) -> Field<T> {
        let Some((node, path)) = fields.get(key) else { return Field::Absent };
        self.parse(node, &path).map_or(Field::Wrong, Field::Is)
    }

    fn address(&mut self, node: &Node, path: &str) -> Option<std::net::IpAddr> {
        let text = self.text(node, path)?;
        let message = || format!("'{}' is not an IP address", shown(text));
        text.parse().map_err(|_| self.report(Some(node.position), path, message())).ok()
    }

    fn switch(&mut self, fields: &Fields<'_>, key: &str) -> Field<bool> {
        let Some((node, path)) = fields.get(key) else { return Field::Absent };
        let word = match &node.value {
            Value::Scalar { text, plain: true } => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "true" | "yes" | "on" => Field::Is(true),
            "false" | "no" | "off" => Field::Is(false),
            _ => {
                self.report(Some(node.position), &path, "expected true or false".into());
                Field::Wrong
            }
        }
    }

    fn choice<T: Copy>(&mut self, fields: &Fields<'_>, key: &str, all: &[T], name: fn(T) -> &'static str) -> Field<T> {
        let Some((node, path)) = fields.get(key) else { return Field::Absent };
        let Some(text) = self.text(node, &path) else { return Field::Wrong };
        match all.iter().find(|&&t| name(t) == text.to_ascii_lowercase()) {
            Some(&value) => Field::Is(value),
            None => {
                let names: Vec<_> = all.iter().map(|&t| name(t)).collect();
                let message = format!("'{}', expected one of {}", shown(text), names.join(", "));
                self.report(Some(node.position), &path, message);
                Field::Wrong
            }
        }
    }

    /// The right items of a list and whether all were right.
    fn list<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        mut item: impl FnMut(&mut Reader, &Node, &str) -> Option<T>,
    ) -> Field<(Vec<T>, bool)> {
        let Some((node, path)) = fields.get(key) else { return Field::Absent };
        let Value::List(nodes) = &node.value else {
            self.report(Some(node.position), &path, format!("{}, expected a list: a line with '- ' each", node.kind()));
            return Field::Wrong;
        };
        if nodes.len() > MAX_ITEMS {
            self.report(Some(node.position), &path, format!("{} items, the first {MAX_ITEMS} apply", nodes.len()));
        }
        let nodes = &nodes[..nodes.len().min(MAX_ITEMS)];
        let right: Vec<T> =
            nodes.iter().enumerate().filter_map(|(i, node)| item(self, node, &format!("{path}[{i}]"))).collect();
        let complete = right.len() == nodes.len();
        Field::Is((right, complete))
    }

    /// A list inside a group: one wrong item spoils it.
    fn whole_list<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        item: impl FnMut(&mut Reader, &Node, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        match self.list(fields, key, item) {
            Field::Is((items, true)) => Some(items),
            Field::Absent => Some(Vec::new()),
            Field::Is((_, false)) | Field::Wrong => None,
        }
    }

    fn config(&mut self, node: &Node) -> NodeConfig {
        let known = [
            "hostname",
            "network",
            "wifi",
            "ssh_authorized_keys",
            "root_password_hash",
            "timezone",
            "ntp_servers",
            "keyboard",
            "operator_key",
            "invite",
            "labels",
        ];
        let Some(fields) = self.fields(node, "", &known) else { return NodeConfig::default() };
        // A list whose items are all wrong is like no list: the image's setting stands, so that the node stays reachable.
        let some_of = |list: Option<(Vec<_>, bool)>| list.map(|l| l.0).filter(|l| !l.is_empty());
        let network = self.list(&fields, "network", Reader::interface).usable();
        let ntp_servers = self.list(&fields, "ntp_servers", Reader::parse).usable();
        NodeConfig {
            hostname: self.value(&fields, "hostname").usable(),
            network: some_of(network),
            wifi: fields.get("wifi").and_then(|(node, path)| self.wifi(node, &path)),
            ssh_authorized_keys: self
                .list(&fields, "ssh_authorized_keys", Reader::parse)
                .usable()
                .unwrap_or_default()
                .0,
            root_password_hash: self.value(&fields, "root_password_hash").usable(),
            timezone: self.value(&fields, "timezone").usable(),
            ntp_servers: ntp_servers.map(|l| l.0).filter(|l| !l.is_empty()),
            keyboard: self.value(&fields, "keyboard").usable(),
            operator_key: self.value(&fields, "operator_key").usable(),
            invite: self.value(&fields, "invite").usable(),
            labels: fields.get("labels").map(|(node, path)| self.labels(node, &path)).unwrap_or_default(),
        }
    }

    fn interface(&mut self, node: &Node, path: &str) -> Option<Interface> {
        let known = ["interface", "mac", "dhcp", "addresses", "gateways", "dns", "search"];
        let fields = self.fields(node, path, &known)?;
        // Each is read before any is given up, so that one look at the console shows all mistakes.
        let interface = self.value(&fields, "interface").unless_wrong();
        let mac = self.value(&fields, "mac").unless_wrong();
        let dhcp = self.switch(&fields, "dhcp").unless_wrong();
        let addresses = self.whole_list(&fields, "addresses", Reader::parse);
        let gateways = self.whole_list(&fields, "gateways", Reader::address);
        let dns = self.whole_list(&fields, "dns", Reader::address);
        let search = self.whole_list(&fields, "search", Reader::parse);
        let entry = Interface {
            interface: interface?,
            mac: mac?,
            dhcp: dhcp?,
            addresses: addresses?,
            gateways: gateways?,
            dns: dns?,
            search: search?,
        };
        self.accept(entry.contradiction(), &fields).then_some(entry)
    }

    /// Reports a contradiction within a group; true if there is none.
    fn accept(&mut self, contradiction: Option<String>, fields: &Fields<'_>) -> bool {
        match contradiction {
            Some(message) => {
                self.report(Some(fields.position), &fields.path, message);
                false
            }
            None => true,
        }
    }

    fn missing<T>(&mut self, fields: &Fields<'_>, key: &str, field: Field<T>) -> Option<T> {
        if matches!(field, Field::Absent) {
            self.report(Some(fields.position), &fields.path, format!("'{key}' is missing"));
        }
        field.usable()
    }

    fn wifi(&mut self, node: &Node, path: &str) -> Option<Wifi> {
        let fields = self.fields(node, path, &["country", "networks"])?;
        // Without a country most networks can still be joined; without any network there is nothing to do.
        let country = self.value(&fields, "country").usable();
        let networks = self.list(&fields, "networks", Reader::wifi_network);
        let (networks, _) = self.missing(&fields, "networks", networks)?;
        (!networks.is_empty()).then_some(Wifi { country, networks })
    }

    fn wifi_network(&mut self, node: &Node, path: &str) -> Option<WifiNetwork> {
        let fields = self.fields(node, path, &["ssid", "psk", "eap", "hidden"])?;
        let ssid = self.value(&fields, "ssid");
        let ssid = self.missing(&fields, "ssid", ssid);
        let psk = self.value(&fields, "psk").unless_wrong();
        let hidden = self.switch(&fields, "hidden").unless_wrong();
        let eap = match fields.get("eap") {
            Some((node, path)) => self.eap(node, &path).map(Some),
            None => Some(None),
        };
        // Only known here: neither a psk line without a value nor one by another name must make the network an open one.
        let lost_psk = match &node.value {
            Value::Map(entries) => {
                entries.iter().any(|(key, value)| (key.text == "psk" && value.is_null()) || is_other_psk(&key.text))
            }
            _ => false,
        };
        if lost_psk {
            return None;
        }
        let network = WifiNetwork { ssid: ssid?, psk: psk?, eap: eap?, hidden: hidden?.unwrap_or(false) };
        self.accept(network.contradiction(), &fields).then_some(network)
    }

    fn eap(&mut self, node: &Node, path: &str) -> Option<Eap> {
        let known = [
            "method",
            "identity",
            "anonymous_identity",
            "password",
            "phase2",
            "ca_cert",
            "client_cert",
            "private_key",
            "private_key_password",
        ];
        let fields = self.fields(node, path, &known)?;
        let method = self.choice(&fields, "method", &EapMethod::ALL, EapMethod::name);
        let method = self.missing(&fields, "method", method);
        let identity = self.value(&fields, "identity");
        let identity = self.missing(&fields, "identity", identity);
        let anonymous_identity = self.value(&fields, "anonymous_identity").unless_wrong();
        let password = self.value(&fields, "password").unless_wrong();
        let phase2 = self.choice(&fields, "phase2", &Phase2::ALL, Phase2::name).unless_wrong();
        let ca_cert = self.value(&fields, "ca_cert").unless_wrong();
        let client_cert = self.value(&fields, "client_cert").unless_wrong();
        let private_key = self.value(&fields, "private_key").unless_wrong();
        let private_key_password = self.value(&fields, "private_key_password").unless_wrong();
        Some(Eap {
            method: method?,
            identity: identity?,
            anonymous_identity: anonymous_identity?,
            password: password?,
            phase2: phase2?,
            ca_cert: ca_cert?,
            client_cert: client_cert?,
            private_key: private_key?,
            private_key_password: private_key_password?,
        })
    }

    fn labels(&mut self, node: &Node, path: &str) -> BTreeMap<LabelKey, LabelValue> {
        let Value::Map(entries) = &node.value else {
            self.report(Some(node.position), path, format!("{}, expected lines of 'name: value'", node.kind()));
            return BTreeMap::new();
        };
        if entries.len() > MAX_LABELS {
            self.report(Some(node.position), path, format!("{} labels, the first {MAX_LABELS} apply", entries.len()));
        }
        let mut labels = BTreeMap::new();
        for (key, value) in entries.iter().take(MAX_LABELS) {
            let at = join(path, &shown(&key.text));
            match key.text.parse::<LabelKey>() {
                Err(message) => self.report(Some(key.position), path, message),
                Ok(name) if labels.contains_key(&name) => {
                    self.report(Some(key.position), &at, "given twice; the first one applies".into());
                }
                Ok(name) => {
                    if let Some(value) = self.parse(value, &at) {
                        labels.insert(name, value);
                    }
                }
            }
        }
        labels
    }
}

/// What other programs call the key of a Wi-Fi network.
const OTHER_WORDS_FOR_PSK: [&str; 7] = ["password", "passphrase", "passwd", "pass", "key", "wpa_psk", "pre_shared_key"];

fn is_other_psk(name: &str) -> bool {
    OTHER_WORDS_FOR_PSK.contains(&name.to_ascii_lowercase().replace('-', "_").as_str())
}

fn unknown_key(name: &str, known: &[&str]) -> String {
    if known.contains(&"psk") && is_other_psk(name) {
        return "unknown key; the password of a Wi-Fi network is its 'psk' (with a user name: 'eap'); this network is left out"
            .into();
    }
    match fruit_base::suggest::nearest(name, known) {
        Some(key) => format!("unknown key; did you mean '{key}'?"),
        None => format!("unknown key; known are {}", known.join(", ")),
    }
}
