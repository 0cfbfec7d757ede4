//! Golden files, and what hostile values turn into.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use fruit_contract::read;

use super::*;
use crate::root::NewRoot;

const INVITE: &str = "fruit1-dGhlIGxpbmUgdGhhdCBmcnVpdGN0bCBub2RlIGludml0ZSBwcmludHNpqT__";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

struct Root {
    folder: tempfile::TempDir,
}

impl Root {
    fn with(files: &[(&str, &str)]) -> Root {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Root { folder }
    }

    fn systemd() -> Root {
        Root::with(&[("/usr/lib/systemd/systemd", ""), ("/usr/sbin/wpa_supplicant", "")])
    }

    fn apply(&self, yaml: &str) -> Vec<Problem> {
        let (config, problems) = read(yaml.as_bytes());
        assert_eq!(problems, []);
        apply(&config, &"node1".parse().unwrap(), &NewRoot::open(self.folder.path()).unwrap())
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.folder.path().join(path.trim_start_matches('/'))).unwrap()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.folder.path().join(path.trim_start_matches('/'))).unwrap().mode() & 0o7777
    }

    fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.folder.path().join(path.trim_start_matches('/'))).is_ok()
    }
}

#[test]
fn without_a_word_about_the_network_every_port_asks_dhcp() {
    let root = Root::systemd();
    assert_eq!(root.apply(""), []);
    let expected = "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\n";
    assert_eq!(root.text("/etc/systemd/network/80-fruit-00.network"), expected);
}

#[test]
fn networkd_files_are_as_systemd_network_5_says() {
    let root = Root::systemd();
    let yaml = "network:\n\
                - {interface: eth0, addresses: [192.168.1.5/24, 'fd00::5/64'], gateways: [192.168.1.1], dns: [9.9.9.9], search: [a.b, c.d]}\n\
                - {mac: 'B8:27:EB:01:02:03', dhcp: true}\n\
                ntp_servers: [ntp.a, 192.0.2.1]\n";
    assert_eq!(root.apply(yaml), []);
    assert_eq!(
        root.text("/etc/systemd/network/10-fruit-00.network"),
        "[Match]\nName=eth0\n\n[Network]\nDHCP=no\nAddress=192.168.1.5/24\nAddress=fd00::5/64\nGateway=192.168.1.1\n\
         DNS=9.9.9.9\nDomains=a.b c.d\n"
    );
    assert_eq!(
        root.text("/etc/systemd/network/10-fruit-01.network"),
        "[Match]\nMACAddress=b8:27:eb:01:02:03\n\n[Network]\nDHCP=yes\n"
    );
    assert_eq!(root.text("/etc/systemd/timesyncd.conf.d/10-fruit.conf"), "[Time]\nNTP=ntp.a 192.0.2.1\n");
}

#[test]
fn a_root_without_systemd_gets_files_for_its_shell() {
    let root = Root::with(&[]);
    assert_eq!(root.apply("network: [{interface: 'en*', addresses: [10.0.0.2/8], gateways: [10.0.0.1]}]\n"), []);
    assert_eq!(
        root.text("/etc/fruit/network/00.env"),
        "INTERFACE='en*'\nMAC=''\nDHCP='no'\nADDRESSES='10.0.0.2/8'\nGATEWAYS='10.0.0.1'\nDNS=''\nSEARCH=''\n"
    );
    assert!(!root.has("/etc/systemd"));
}

#[test]
fn a_shell_reads_back_what_was_quoted() {
    for text in ["", "plain", "it's", "$(reboot)", "a\"b`c`\\", "'; rm -rf /; '", "*"] {
        let script = format!("printf %s {}", shell_quote(text));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    }
}

#[test]
fn wifi_is_written_for_wpa_supplicant_and_for_nobody_else() {
    let root = Root::systemd();
    let yaml = r#"
wifi:
  country: DE
  networks:
    - {ssid: home, psk: 'pass "quoted" word'}
    - {ssid: "caf\u00e9\nx=1", psk: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", hidden: true}
    - {ssid: open}
    - ssid: corp
      eap:
        method: peap
        identity: 'a\b'
        password: "p\"w"
        ca_cert: |
          -----BEGIN CERTIFICATE-----
          AAAA
          -----END CERTIFICATE-----
    - {ssid: cert, eap: {method: tls, identity: n, client_cert: /etc/c.pem, private_key: /etc/k.pem, private_key_password: x}}
"#;
    assert_eq!(root.apply(yaml), []);
    let path = "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf";
    assert_eq!(
        root.text(path),
        "ctrl_interface=/run/wpa_supplicant\nupdate_config=0\ncountry=DE\n\
         \nnetwork={\n\tssid=\"home\"\n\tpriority=5\n\tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\
         \tpsk=\"pass \"quoted\" word\"\n\tieee80211w=1\n}\n\
         \nnetwork={\n\tssid=636166c3a90a783d31\n\tpriority=4\n\tscan_ssid=1\n\tkey_mgmt=WPA-PSK WPA-PSK-SHA256\n\
         \tpsk=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\tieee80211w=1\n}\n\
         \nnetwork={\n\tssid=\"open\"\n\tpriority=3\n\tkey_mgmt=NONE\n}\n\
         \nnetwork={\n\tssid=\"corp\"\n\tpriority=2\n\tkey_mgmt=WPA-EAP WPA-EAP-SHA256\n\tieee80211w=1\n\teap=PEAP\n\
         \tidentity=615c62\n\tpassword=702277\n\tphase2=\"auth=MSCHAPV2\"\n\tca_cert=\"/etc/fruit/wifi/3-ca_cert.pem\"\n}\n\
         \nnetwork={\n\tssid=\"cert\"\n\tpriority=1\n\tkey_mgmt=WPA-EAP WPA-EAP-SHA256\n\tieee80211w=1\n\teap=TLS\n\
         \tidentity=\"n\"\n\tclient_cert=\"/etc/c.pem\"\n\tprivate_key=\"/etc/k.pem\"\n\tprivate_key_passwd=\"x\"\n}\n"
    );
    assert_eq!(root.mode(path), 0o600);
    assert_eq!(root.mode("/etc/fruit/wifi"), 0o700);
    assert!(root.text("/etc/fruit/wifi/3-ca_cert.pem").starts_with("-----BEGIN"));
    assert!(root.has("/etc/systemd/system/multi-user.target.wants/wpa_supplicant@wlan0.service"));
    assert!(root.text("/etc/systemd/network/81-fruit-wlan.network").contains("Name=wlan0"));
}

#[test]
fn wifi_without_wpa_supplicant_is_a_problem_that_names_the_package() {
    let root = Root::with(&[]);
    let problems = root.apply("wifi: {networks: [{ssid: x}]}");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("'wpasupplicant'"));
    assert!(!root.has("/etc/wpa_supplicant"));
}

#[test]
fn ssh_keys_are_added_to_those_of_the_image() {
    let root = Root::with(&[("/root/.ssh/authorized_keys", "ssh-ed25519 IMAGE\n")]);
    let yaml = format!("ssh_authorized_keys: ['{KEY} me', '{KEY} me']\n");
    assert_eq!(root.apply(&yaml), []);
    assert_eq!(root.text("/root/.ssh/authorized_keys"), format!("ssh-ed25519 IMAGE\n{KEY} me\n"));
    assert_eq!(root.mode("/root/.ssh/authorized_keys"), 0o600);
    let root = Root::with(&[]);
    root.apply(&yaml);
    assert_eq!(root.mode("/root/.ssh"), 0o700);
}

#[test]
fn the_password_hash_replaces_that_of_root_only() {
    let shadow = "root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\nrooty:x:1::::::\n";
    let root = Root::with(&[("/etc/shadow", shadow)]);
    let hash = format!("$6$salt${}", "x".repeat(86));
    assert_eq!(root.apply(&format!("root_password_hash: {hash}\n")), []);
    assert_eq!(
        root.text("/etc/shadow"),
        format!("root:{hash}:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\nrooty:x:1::::::\n")
    );
    let bare = Root::with(&[]);
    assert_eq!(bare.apply(&format!("root_password_hash: {hash}\n")).len(), 1);
}

#[test]
fn a_time_zone_that_the_image_lacks_is_a_problem() {
    let root = Root::with(&[("/usr/share/zoneinfo/Europe/Berlin", "")]);
    assert_eq!(root.apply("timezone: Europe/Berlin"), []);
    let link = fs::read_link(root.folder.path().join("etc/localtime")).unwrap();
    assert_eq!(link.to_str().unwrap(), "../usr/share/zoneinfo/Europe/Berlin");
    assert_eq!(root.text("/etc/timezone"), "Europe/Berlin\n");
    assert_eq!(root.apply("timezone: Mars/Olympus").len(), 1);
    assert_eq!(root.apply("timezone: UTC"), []);
}

#[test]
fn keyboard_operator_and_labels_are_written() {
    let root = Root::with(&[]);
    let yaml = format!("keyboard: de(nodeadkeys)\noperator_key: {KEY}\nlabels: {{rack: 1, note: 'a\"b'}}\n");
    assert_eq!(root.apply(&yaml), []);
    assert!(root.text("/etc/default/keyboard").contains("XKBLAYOUT=\"de\"\nXKBVARIANT=\"nodeadkeys\"\n"));
    assert!(root.text("/etc/vconsole.conf").starts_with("KEYMAP=de-nodeadkeys\n"));
    let digits: String = (0..32).map(|b| format!("{b:02x}")).collect();
    assert_eq!(root.text("/etc/fruit/operator.pub"), format!("{digits}\n"));
    let labels: serde_json::Value = serde_json::from_str(&root.text("/etc/fruit/labels.json")).unwrap();
    assert_eq!(labels, serde_json::json!({"rack": "1", "note": "a\"b"}));
}

#[test]
fn an_invite_is_for_root_alone() {
    let root = Root::with(&[]);
    assert_eq!(root.apply(&format!("invite: {INVITE}\n")), []);
    assert_eq!(root.text("/etc/fruit/invite"), format!("{INVITE}\n"));
    assert_eq!(root.mode("/etc/fruit/invite"), 0o600);
}

#[test]
fn the_host_name_has_its_line_in_hosts() {
    let root = Root::with(&[("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 old\n10.0.0.1 other\n")]);
    assert_eq!(root.apply(""), []);
    assert_eq!(root.text("/etc/hostname"), "node1\n");
    assert_eq!(root.text("/etc/hosts"), "127.0.0.1 localhost\n10.0.0.1 other\n127.0.1.1\tnode1\n");
    assert_eq!(
        render_hosts("", &"a.example.org".parse().unwrap()),
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\ta.example.org a\n"
    );
}

#[test]
fn what_cannot_be_written_is_a_problem_and_the_rest_applies() {
    let root = Root::with(&[("/etc/fruit", "a file where a folder belongs")]);
    let problems = root.apply("labels: {a: b}\nkeyboard: us\n");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(root.has("/etc/vconsole.conf"));
}
