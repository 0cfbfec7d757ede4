//! A mistake in fruit.yaml is reported with its line and costs only what it stands in.

use fruit_contract::config::NodeConfig;
use fruit_contract::{Problem, fruit_yaml_template, line_of, read};
use proptest::prelude::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// Nobody's, and copied whole.
const INVITE: &str = "fruit1-dGhlIGxpbmUgdGhhdCBmcnVpdGN0bCBub2RlIGludml0ZSBwcmludHNpqT__";

fn good(text: &str) -> NodeConfig {
    let (config, problems) = read(text.as_bytes());
    assert_eq!(problems, [], "{text}");
    config
}

/// The problems as `line key`, for short comparisons.
fn places(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|p| format!("{} {}", p.line.unwrap_or(0), p.key)).collect()
}

fn full() -> String {
    format!(
        r#"
hostname: rack-{{serial:6}}
network:
  - interface: eth0
    addresses: [192.168.1.10/24, "fd00::10/64"]
    gateways: [192.168.1.1]
    dns: [192.168.1.1]
    search: [example.org]
  - mac: B8:27:EB:01:02:03
    dhcp: yes
wifi:
  country: DE
  networks:
    - ssid: 00123
      psk: 00012345
    - ssid: "caf\u00e9"
      hidden: true
      eap: {{method: PEAP, identity: ann, password: "p#w: x", phase2: mschapv2}}
ssh_authorized_keys:
  - {KEY} ann@desk
root_password_hash: $6$saltsalt${}
timezone: Europe/Berlin
ntp_servers: [ntp.example.org, 192.0.2.1]
keyboard: de(nodeadkeys)
operator_key: {KEY}
invite: {INVITE}
labels:
  rack: 3
  empty: ""
  "true": yes
"#,
        "x".repeat(86)
    )
}

#[test]
fn every_key_is_read() {
    let config = good(&full());
    assert_eq!(config.hostname.unwrap().as_str(), "rack-{serial:6}");
    let network = config.network.unwrap();
    assert_eq!(network[0].addresses[1].as_str(), "fd00::10/64");
    assert!(!network[0].uses_dhcp() && network[1].uses_dhcp());
    assert_eq!(network[1].mac.as_ref().unwrap().as_str(), "b8:27:eb:01:02:03");
    let wifi = config.wifi.unwrap();
    // What looks like a number keeps its zeros.
    assert_eq!(wifi.networks[0].ssid.as_str(), "00123");
    assert_eq!(wifi.networks[0].psk.as_ref().unwrap().as_str(), "00012345");
    assert_eq!(wifi.networks[1].ssid.as_str(), "café");
    assert_eq!(wifi.networks[1].eap.as_ref().unwrap().password.as_ref().unwrap().as_str(), "p#w: x");
    assert_eq!(config.ssh_authorized_keys.len(), 1);
    assert_eq!(config.timezone.unwrap().as_str(), "Europe/Berlin");
    assert_eq!(config.ntp_servers.unwrap().len(), 2);
    assert_eq!(config.keyboard.unwrap().variant(), Some("nodeadkeys"));
    assert_eq!(config.operator_key.unwrap().bytes()[..3], [0, 1, 2]);
    assert_eq!(config.invite.unwrap().as_str(), INVITE);
    let labels: Vec<_> = config.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("empty", ""), ("rack", "3"), ("true", "yes")]);
}

#[test]
fn an_invite_that_lost_a_character_costs_only_itself_and_is_not_shown() {
    let (config, problems) = read(format!("hostname: a\ninvite: {}\n", &INVITE[..40]).as_bytes());
    assert_eq!((config.invite, places(&problems)), (None, vec!["2 invite".to_owned()]));
    assert_eq!(config.hostname.unwrap().as_str(), "a");
    let said = problems[0].to_string();
    assert!(said.contains("copy the invite again") && !said.contains(&INVITE[8..20]), "{said}");
    let (image, card) = (format!("invite: {INVITE}\n"), "hostname: b\n");
    assert_eq!(good(card).over(good(&image)).invite.unwrap().as_str(), INVITE);
}

#[test]
fn json_is_accepted() {
    let config = good(r#"{"hostname": "n1", "network": [{"dhcp": true}], "labels": {"a": "b"}}"#);
    assert_eq!(config.hostname.unwrap().as_str(), "n1");
}

#[test]
fn a_byte_order_mark_and_dos_line_ends_are_accepted() {
    let config = good("\u{feff}hostname: n1\r\ntimezone: UTC\r\n");
    assert_eq!(config.timezone.unwrap().as_str(), "UTC");
}

#[test]
fn a_file_of_comments_says_nothing() {
    for text in ["", "\n\n", "# only this\n", "---\n", "~\n"] {
        assert_eq!(good(text), NodeConfig::default());
    }
}

#[test]
fn each_mistake_is_reported_with_its_line_and_the_rest_applies() {
    let text = "\
hostname: bad_name
hostnam: x
timezone: Europe/Berlin
ntp_servers:
  - good.example.org
  - 'bad server'
ssh_authorized_keys:
  - ssh-ed25519 AAAA
  - {}
labels:
  good: 1
  'bad key': 2
  twice: a
  twice: b
keyboard:
root_password_hash: secret
network:
  - interface: eth0
    addresses: [10.0.0.300/8]
    gatways: [10.0.0.1]
  - interface: eth1
    dhcpp: true
";
    let (config, problems) = read(text.replace("{}", KEY).as_bytes());
    let expected = [
        "2 hostnam",
        "15 keyboard",
        "19 network[0].addresses[0]",
        "20 network[0].gatways",
        "22 network[1].dhcpp",
        "6 ntp_servers[1]",
        "1 hostname",
        "8 ssh_authorized_keys[0]",
        "16 root_password_hash",
        "12 labels",
        "14 labels.twice",
    ];
    let (mut found, mut expected) = (places(&problems), expected.map(String::from).to_vec());
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{problems:#?}");
    assert_eq!(config.hostname, None);
    assert_eq!(config.timezone.unwrap().as_str(), "Europe/Berlin");
    assert_eq!(config.ntp_servers.unwrap().len(), 1);
    assert_eq!(config.ssh_authorized_keys.len(), 1);
    assert_eq!(config.labels.len(), 2);
    assert_eq!(config.network.unwrap().len(), 1, "a broken interface is left out, an unknown key is not");
}

#[test]
fn messages_name_the_key_that_was_meant() {
    let (_, problems) = read(b"hostnam: x\nssh_keys: []\n");
    assert_eq!(problems[0].to_string(), "fruit.yaml:1: hostnam: unknown key; did you mean 'hostname'?");
    assert!(problems[1].to_string().contains("fruit.yaml:2: ssh_keys: unknown key"));
}

#[test]
fn the_line_of_a_key_is_found_later() {
    assert_eq!(line_of(b"a: 1\n\ntimezone: Mars\n", "timezone"), Some(3));
    assert_eq!(line_of(b"a: 1\n", "timezone"), None);
    assert_eq!(line_of(b"[", "timezone"), None);
}

#[test]
fn secrets_are_never_repeated_in_messages() {
    let text = "wifi: {networks: [{ssid: x, psk: s3cr3t}, {ssid: y, eap: {method: peap, identity: a, password: [s3cr3t]}}]}\n\
                root_password_hash: s3cr3t\n";
    let (config, problems) = read(text.as_bytes());
    assert!(config.wifi.is_none());
    assert_eq!(problems.len(), 3);
    assert!(problems.iter().all(|p| !p.to_string().contains("s3cr3t")), "{problems:?}");
}

#[test]
fn a_psk_line_without_a_value_never_makes_the_network_an_open_one() {
    let (config, problems) = read(b"wifi:\n  networks:\n  - ssid: home\n    psk:\n");
    assert_eq!(config.wifi, None);
    assert_eq!(places(&problems), ["4 wifi.networks[0].psk"]);
}

#[test]
fn a_file_that_is_no_yaml_is_reported_once_and_nothing_applies() {
    for (text, line) in [
        (&b"hostname: [\n"[..], None),
        (b"hostname: a\n\tkey: b\n", None),
        (b"a: b: c\n", Some(1)),
        (b"hostname: n1\n\xff\xfe\n", Some(2)),
        (b"\xff\xfeh\0o\0", None),
        (b"hostname: &a x\ntimezone: *a\n", Some(2)),
        (b"hostname: !!binary x\n", Some(1)),
        (b"hostname: a\n---\nhostname: b\n", Some(2)),
        (b"? [a]\n: b\n", Some(1)),
    ] {
        let (config, problems) = read(text);
        assert_eq!(config, NodeConfig::default());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].message.ends_with("nothing of this file applies"), "{problems:?}");
        if line.is_some() {
            assert_eq!(problems[0].line, line, "{problems:?}");
        }
    }
}

#[test]
fn a_huge_or_deep_file_is_refused() {
    let (_, problems) = read(&vec![b'#'; 65537]);
    assert!(problems[0].message.contains("65537 bytes"));
    for nest in ["[", "{a: ", "- "] {
        let (config, problems) = read(nest.repeat(10_000).as_bytes());
        assert_eq!((config, problems.len()), (NodeConfig::default(), 1), "{problems:?}");
    }
}

#[test]
fn a_file_full_of_mistakes_gives_a_bounded_report() {
    let text: String = (0..2000).map(|i| format!("key{i}: x\n")).collect();
    let (_, problems) = read(text.as_bytes());
    assert_eq!(problems.len(), 51);
}

#[test]
fn what_is_not_a_group_of_keys_is_reported() {
    for text in ["hello", "- a\n- b\n", "42"] {
        let (config, problems) = read(text.as_bytes());
        assert_eq!((config, problems.len()), (NodeConfig::default(), 1));
    }
    let (_, problems) = read(b"network: dhcp\nlabels: [a]\nssh_authorized_keys: x\nwifi: x\nhostname: [a]\n");
    assert_eq!(problems.len(), 5);
}

#[test]
fn values_with_line_breaks_never_get_in() {
    let text = r#"
hostname: "a\nb"
timezone: "UTC\n[x]"
ntp_servers: ["a\n[Network]"]
keyboard: "de\nx=1"
wifi: {country: "DE\n", networks: [{ssid: x, psk: "12345678\nfoo=1"}]}
network: [{interface: "eth0\n[Network]"}, {search: ["a\nb"]}]
labels: {"a\nb": x, c: "x\ny"}
ssh_authorized_keys: ["ssh-ed25519 AAAA\ncommand=x"]
root_password_hash: "$6$a$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nroot2::0:0"
"#;
    let (config, problems) = read(text.as_bytes());
    assert_eq!(config, NodeConfig::default());
    assert_eq!(problems.len(), 12, "{problems:#?}");
    assert!(problems.iter().all(|p| !p.to_string().contains('\n')));
}

#[test]
fn settings_go_over_those_of_the_image() {
    let image = good(&format!("hostname: a\ntimezone: UTC\nlabels: {{a: 1, b: 1}}\nssh_authorized_keys: ['{KEY}']\n"));
    let file = good(&format!("hostname: b\nlabels: {{b: 2}}\nssh_authorized_keys: ['{KEY}', '{KEY} other']\n"));
    let merged = file.over(image);
    assert_eq!(merged.hostname.unwrap().as_str(), "b");
    assert_eq!(merged.timezone.unwrap().as_str(), "UTC");
    assert_eq!(merged.ssh_authorized_keys.len(), 2);
    let labels: Vec<_> = merged.labels.values().map(|v| v.as_str()).collect();
    assert_eq!(labels, ["1", "2"]);
}

#[test]
fn the_template_changes_nothing_until_it_is_edited() {
    assert_eq!(good(&fruit_yaml_template()), NodeConfig::default());
}

#[test]
fn the_template_is_right_when_everything_is_uncommented() {
    let text = fruit_yaml_template();
    // A setting is a '#', a space and what YAML sees as a key or a list item; prose starts with a capital letter.
    let uncommented: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with([' ', '-']) || line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter(|line| line.contains(':') || line.trim_start().starts_with('-'))
        .filter(|line| !line.starts_with("in the journal"))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = good(&uncommented);
    let json = serde_json::to_value(&config).unwrap();
    for key in [
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
    ] {
        assert!(json.get(key).is_some(), "the template does not show {key}");
    }
}

#[test]
fn what_would_silently_do_nothing_is_told_with_the_remedy() {
    let said = |text: &str| {
        let (config, problems) = read(text.as_bytes());
        (config, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    // By the wrong name, the network must not become an open one.
    for word in ["password", "Passphrase", "wpa-psk"] {
        let (config, text) = said(&format!("wifi: {{networks: [{{ssid: home, {word}: correct horse}}]}}\n"));
        assert!(config.wifi.is_none() && text.contains("'psk'") && text.contains("fruit.yaml:1"), "{text}");
    }
    let (config, text) = said("network:\n  - interface: eth0.10\n    addresses: [10.0.0.5/8]\n");
    assert!(config.network.is_none() && text.contains("fruit.yaml:2") && text.contains("VLAN"), "{text}");
    let (config, text) = said("keyboard: uk\n");
    assert!(config.keyboard.is_none() && text.contains("did you mean gb?"), "{text}");
    // The parser's words about such a character would be a riddle, wherever it stands.
    for (yaml, line) in [
        ("hostname: node\ntimezone:\u{a0}UTC\n", 2),
        ("timezone:\u{a0}UTC\nhostname: node\n", 1),
        ("timezone:\u{a0}UTC\n", 1),
        ("hostname: node\ntimezone: \u{a0}UTC\n", 2),
        ("hostname: node\ntimezone\u{a0}: UTC\n", 2),
        ("hostname: node\n\u{a0}timezone: UTC\n", 2),
        ("wifi:\n\u{a0} country: DE\n", 2),
    ] {
        let (_, text) = said(yaml);
        assert!(text.starts_with(&format!("fruit.yaml:{line}: the character U+00A0 (no-break space)")), "{text}");
        assert!(text.contains("ordinary space") && text.lines().count() == 1, "{yaml:?}: {text}");
    }
    assert_eq!(said("hostname: node\ntimezone: \u{a0}UTC\n").0.hostname.unwrap().as_str(), "node");
    // Where it may be meant, it is.
    let (config, text) = said("wifi: {networks: [{ssid: 'my\u{a0}net', psk: correct horse}]} # \u{a0}\n");
    assert!(config.wifi.is_some() && text.is_empty(), "{text}");
}

#[test]
fn the_lenient_reader_and_the_strict_types_read_the_same() {
    let config = good(&full());
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<NodeConfig>(&json).unwrap(), config);
    assert_eq!(good(&json), config);
}

#[test]
fn contradictions_are_found_in_both_kinds_of_entries() {
    let json =
        r#"{"network":[{},{"dhcp":false}],"wifi":{"networks":[{"ssid":"a","eap":{"method":"tls","identity":"x"}}]}}"#;
    let config: NodeConfig = serde_json::from_str(json).unwrap();
    let keys: Vec<String> = config.contradictions().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["network[1]", "wifi.networks[0]"]);
    let (config, problems) = read(json.as_bytes());
    assert_eq!((config.network.unwrap().len(), config.wifi, problems.len()), (1, None, 2));
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_knows_every_key_and_the_shape_of_its_text() {
    let schema = serde_json::to_value(schemars::schema_for!(NodeConfig)).unwrap();
    for key in serde_json::to_value(good(&full())).unwrap().as_object().unwrap().keys() {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
    assert!(schema["$defs"]["Country"]["pattern"].is_string(), "{schema:#}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes);
    }

    #[test]
    fn no_yaml_makes_the_reader_panic(
        text in "((hostname|network|wifi|networks|ssid|psk|eap|labels|addresses|dns|interface|dhcp)?[:,\\[\\]{}\"'|>&*!#\n -]{0,4}\\PC{0,3}){0,30}"
    ) {
        let (_, problems) = read(text.as_bytes());
        prop_assert!(problems.iter().all(|p| !p.to_string().contains('\n')));
    }
}
