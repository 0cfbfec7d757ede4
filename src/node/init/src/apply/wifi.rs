//! Wi-Fi: the configuration of wpa_supplicant.

use std::fmt::Write;

use fruit_contract::cmdline::hex;
use fruit_contract::wifi::{Certificate, Eap, EapMethod, Phase2, Psk, Wifi, WifiNetwork};

use super::{PRIVATE, Target, WORLD_READABLE};
use crate::root::Attributes;

/// The name that the kernel gives to the first radio.
const INTERFACE: &str = "wlan0";
/// Where Debian's `wpa_supplicant@.service` looks; other roots are to start `wpa_supplicant -i wlan0 -c` with it.
const CONFIG: &str = "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf";
/// Certificates and keys that fruit.yaml brings.
const CERTIFICATES: &str = "/etc/fruit/wifi";

pub fn apply(target: &mut Target<'_>, wifi: Option<&Wifi>) {
    let Some(wifi) = wifi else { return };
    if !["/usr/sbin/wpa_supplicant", "/sbin/wpa_supplicant"].iter().any(|p| target.root.exists(p)) {
        target.problem("wifi", "this image has no wpa_supplicant: add the package 'wpasupplicant' to its recipe");
        return;
    }
    let (config, certificates) = render(wifi);
    if !certificates.is_empty() {
        let folder = target.root.create_folder(CERTIFICATES, Attributes::root(0o700)).map(drop);
        target.check("wifi", folder);
    }
    for (path, pem) in &certificates {
        target.write("wifi", path, pem, PRIVATE);
    }
    target.write("wifi", CONFIG, &config, PRIVATE);
    if target.has_systemd() {
        // Behind what fruit.yaml says about wlan0, if it does.
        let network = format!("[Match]\nName={INTERFACE}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP=yes\n");
        target.write("wifi", "/etc/systemd/network/81-fruit-wlan.network", &network, WORLD_READABLE);
        let unit = format!("/etc/systemd/system/multi-user.target.wants/wpa_supplicant@{INTERFACE}.service");
        let enabled = target.root.link(&unit, "/usr/lib/systemd/system/wpa_supplicant@.service");
        target.check("wifi", enabled);
    }
}

/// The configuration, and the files (path, PEM text) that it names.
pub fn render(wifi: &Wifi) -> (String, Vec<(String, String)>) {
    let mut certificates = Vec::new();
    let mut text = String::from("ctrl_interface=/run/wpa_supplicant\nupdate_config=0\n");
    // Writing to a String can't fail.
    if let Some(country) = &wifi.country {
        let _ = writeln!(text, "country={country}");
    }
    for (i, network) in wifi.networks.iter().enumerate() {
        // The first one is preferred.
        let priority = wifi.networks.len() - i;
        render_network(&mut text, network, i, priority, &mut certificates);
    }
    (text, certificates)
}

fn render_network(
    text: &mut String,
    network: &WifiNetwork,
    number: usize,
    priority: usize,
    files: &mut Vec<(String, String)>,
) {
    let _ = write!(text, "\nnetwork={{\n\tssid={}\n\tpriority={priority}\n", string(network.ssid.as_str()));
    if network.hidden {
        text.push_str("\tscan_ssid=1\n");
    }
    match (&network.psk, &network.eap) {
        (_, Some(eap)) => render_eap(text, eap, number, files),
        (Some(psk), None) => render_psk(text, psk),
        (None, None) => text.push_str("\tkey_mgmt=NONE\n"),
    }
    text.push_str("}\n");
}

/// WPA2 and, for access points that have it, WPA3 (SAE), which wants the passphrase.
fn render_psk(text: &mut String, psk: &Psk) {
    let _ = if psk.is_key() {
        write!(text, "\tkey_mgmt=WPA-PSK WPA-PSK-SHA256\n\tpsk={psk}\n\tieee80211w=1\n")
    } else {
        // The passphrase can't be hex for wpa_supplicant; it is printable ASCII without line breaks by its type, and
        // only the last quote of the line ends it (wpa_config_parse_string, wpa_supplicant/config.c).
        write!(text, "\tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tpsk=\"{psk}\"\n\tieee80211w=1\n")
    };
}

fn render_eap(text: &mut String, eap: &Eap, number: usize, files: &mut Vec<(String, String)>) {
    let _ =
        writeln!(text, "\tkey_mgmt=WPA-EAP WPA-EAP-SHA256\n\tieee80211w=1\n\teap={}", eap.method.name().to_uppercase());
    let _ = writeln!(text, "\tidentity={}", string(eap.identity.as_str()));
    if let Some(identity) = &eap.anonymous_identity {
        let _ = writeln!(text, "\tanonymous_identity={}", string(identity.as_str()));
    }
    if let Some(password) = &eap.password {
        let _ = writeln!(text, "\tpassword={}", string(password.as_str()));
    }
    if eap.method != EapMethod::Tls {
        let phase2 = eap.phase2.unwrap_or(Phase2::Mschapv2).name().to_uppercase();
        let _ = writeln!(text, "\tphase2=\"auth={phase2}\"");
    }
    let mut file = |key: &str, certificate: &Option<Certificate>| {
        let Some(certificate) = certificate else { return };
        let path = match certificate.pem() {
            Some(pem) => {
                let path = format!("{CERTIFICATES}/{number}-{key}.pem");
                files.push((path.clone(), pem.to_owned()));
                path
            }
            None => certificate.as_str().to_owned(),
        };
        let _ = writeln!(text, "\t{key}=\"{path}\"");
    };
    file("ca_cert", &eap.ca_cert);
    file("client_cert", &eap.client_cert);
    file("private_key", &eap.private_key);
    if let Some(password) = &eap.private_key_password {
        let _ = writeln!(text, "\tprivate_key_passwd={}", string(password.as_str()));
    }
}

/// A string as wpa_supplicant reads it: in quotes if that is safe and readable, else in hexadecimal digits.
fn string(text: &str) -> String {
    let plain = text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\');
    if plain { format!("\"{text}\"") } else { hex(text.as_bytes()) }
}
