//! Wi-Fi networks, with a shared key or with WPA-Enterprise (EAP).

use serde::{Deserialize, Serialize};

use crate::text::{checked_text, shown};

/// Wi-Fi of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wifi {
    /// Where the node stands, ISO 3166 two-letter code: it decides which channels are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// Networks to join, first one first.
    pub networks: Vec<WifiNetwork>,
}

/// One Wi-Fi network: open, or with one of `psk` and `eap`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WifiNetwork {
    pub ssid: Ssid,
    /// Passphrase of 8 to 63 characters, or the key itself as 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<Psk>,
    /// WPA-Enterprise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eap: Option<Eap>,
    /// Whether the network does not announce itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

impl WifiNetwork {
    /// What contradicts itself in an otherwise well-formed network.
    pub fn contradiction(&self) -> Option<String> {
        if self.psk.is_some() && self.eap.is_some() {
            return Some("'psk' and 'eap' exclude each other".into());
        }
        self.eap.as_ref().and_then(Eap::contradiction)
    }
}

/// How a node proves itself to a WPA-Enterprise network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Eap {
    pub method: EapMethod,
    pub identity: Secret,
    /// Identity that is sent in the clear, such as `anonymous@example.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous_identity: Option<Secret>,
    /// For `peap` and `ttls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Inner method of `peap` and `ttls`; default `mschapv2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase2: Option<Phase2>,
    /// Certificate of the authority that the network's server must have: PEM text, or a path in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<Certificate>,
    /// For `tls`: the node's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<Certificate>,
    /// For `tls`: the key of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<Certificate>,
    /// For `tls`: what the key is encrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_password: Option<Secret>,
}

impl Eap {
    fn contradiction(&self) -> Option<String> {
        let missing = match self.method {
            EapMethod::Tls => {
                [("client_cert", self.client_cert.is_none()), ("private_key", self.private_key.is_none())]
            }
            EapMethod::Peap | EapMethod::Ttls => [("password", self.password.is_none()), ("", false)],
        };
        missing
            .iter()
            .find(|(_, missing)| *missing)
            .map(|(key, _)| format!("method {} needs '{key}'", self.method.name()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EapMethod {
    Peap,
    Ttls,
    Tls,
}

impl EapMethod {
    pub const ALL: [EapMethod; 3] = [EapMethod::Peap, EapMethod::Ttls, EapMethod::Tls];

    pub const fn name(self) -> &'static str {
        match self {
            EapMethod::Peap => "peap",
            EapMethod::Ttls => "ttls",
            EapMethod::Tls => "tls",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Phase2 {
    Mschapv2,
    Pap,
    Gtc,
    Md5,
}

impl Phase2 {
    pub const ALL: [Phase2; 4] = [Phase2::Mschapv2, Phase2::Pap, Phase2::Gtc, Phase2::Md5];

    pub const fn name(self) -> &'static str {
        match self {
            Phase2::Mschapv2 => "mschapv2",
            Phase2::Pap => "pap",
            Phase2::Gtc => "gtc",
            Phase2::Md5 => "md5",
        }
    }
}

checked_text! {
    /// ISO 3166-1 alpha-2 code, upper case.
    Country, check_country, "^[A-Z]{2}$"
}

checked_text! {
    /// Name of a network: 1 to 32 bytes (IEEE 802.11), of any value but NUL.
    Ssid, check_ssid
}

checked_text! {
    /// WPA key: 8 to 63 printable ASCII characters, or 64 hexadecimal digits.
    Psk, check_psk
}

checked_text! {
    /// Text for a login: 1 to 256 bytes on one line.
    Secret, check_secret
}

checked_text! {
    /// A certificate or a key: PEM text, or an absolute path in the image.
    Certificate, check_certificate
}

fn check_country(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(text.into())
    } else {
        Err(format!("'{}' is not a country: expected two capital letters, such as DE or US", shown(text)))
    }
}

fn check_ssid(text: &str) -> Result<String, String> {
    if (1..=32).contains(&text.len()) && !text.contains('\0') {
        Ok(text.into())
    } else {
        Err(format!("an SSID has 1 to 32 bytes, not {}", text.len()))
    }
}

fn check_psk(text: &str) -> Result<String, String> {
    let passphrase = (8..=63).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    let key = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if passphrase || key {
        Ok(text.into())
    } else {
        // Never shown: messages go to the journal.
        Err(format!("a psk is 8 to 63 printable ASCII characters or 64 hex digits; this one has {} bytes", text.len()))
    }
}

fn check_secret(text: &str) -> Result<String, String> {
    if (1..=256).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text.into())
    } else {
        Err("expected 1 to 256 bytes on one line".into())
    }
}

fn check_certificate(text: &str) -> Result<String, String> {
    const LARGEST: usize = 16 << 10;
    let pem = text.trim();
    let printable = pem.chars().all(|c| matches!(c, '\n' | '\r' | ' '..='~'));
    if pem.starts_with("-----BEGIN ") && pem.ends_with("-----") && pem.contains("-----END ") && printable {
        if pem.len() > LARGEST {
            return Err(format!("PEM text of {} bytes, at most {LARGEST} are accepted", pem.len()));
        }
        return Ok(format!("{}\n", pem.replace("\r\n", "\n")));
    }
    let safe_path = text.starts_with('/')
        && text.len() <= 256
        && crate::text::is_made_of(text, "/._-+@")
        && !text.split('/').any(|part| part == "..");
    if safe_path {
        Ok(text.into())
    } else {
        Err("expected PEM text (-----BEGIN …) or an absolute path in the image".into())
    }
}

impl Psk {
    /// Whether this is the 256-bit key itself rather than a passphrase.
    pub fn is_key(&self) -> bool {
        self.as_str().len() == 64
    }
}

impl Certificate {
    /// PEM text, if it is that and not a path.
    pub fn pem(&self) -> Option<&str> {
        Some(self.as_str()).filter(|t| t.starts_with("-----BEGIN "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_passphrases_or_64_digits() {
        assert!("correct horse".parse::<Psk>().is_ok());
        assert!(!"x".repeat(63).parse::<Psk>().unwrap().is_key());
        assert!("0aF".repeat(21).parse::<Psk>().is_ok());
        assert!("a".repeat(64).parse::<Psk>().unwrap().is_key());
        for bad in ["", "short", "with\nnewline", "gänsefüß", &"g".repeat(64), &"a".repeat(65)] {
            let error = bad.parse::<Psk>().unwrap_err();
            assert!(bad.is_empty() || !error.contains(bad), "the message repeats the secret");
        }
    }

    #[test]
    fn certificates_are_pem_or_paths() {
        let pem = "-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----";
        let certificate: Certificate = pem.parse().unwrap();
        assert_eq!(certificate.pem(), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
        assert_eq!("/etc/ssl/certs/ca.pem".parse::<Certificate>().unwrap().pem(), None);
        for bad in ["", "ca.pem", "/etc/../x", "/a\"b", "/a\nb", "-----BEGIN CERTIFICATE-----"] {
            assert!(bad.parse::<Certificate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_that_cannot_work_are_contradictions() {
        let eap = Eap {
            method: EapMethod::Peap,
            identity: "ann".parse().unwrap(),
            anonymous_identity: None,
            password: None,
            phase2: None,
            ca_cert: None,
            client_cert: None,
            private_key: None,
            private_key_password: None,
        };
        let network = |psk: Option<&str>, eap| WifiNetwork {
            ssid: "x".parse().unwrap(),
            psk: psk.map(|p| p.parse().unwrap()),
            eap,
            hidden: false,
        };
        assert_eq!(network(None, None).contradiction(), None);
        assert!(network(Some("longenough"), Some(eap.clone())).contradiction().is_some());
        assert_eq!(network(None, Some(eap.clone())).contradiction().unwrap(), "method peap needs 'password'");
        let tls = Eap { method: EapMethod::Tls, ..eap };
        assert_eq!(network(None, Some(tls)).contradiction().unwrap(), "method tls needs 'client_cert'");
    }
}
