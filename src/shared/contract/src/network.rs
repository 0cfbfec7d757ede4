//! Network interfaces of a node.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::text::{checked_text, is_made_of, shown};

/// One network interface, or all that fit a pattern.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interface {
    /// Kernel name or a pattern, such as `eth0` or `en*`. Without `interface` and `mac`: every Ethernet port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Hardware address, for boards with several ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Whether to ask for an address; without this key: yes if there is no static one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<bool>,
    /// Static addresses with prefix length, such as `192.168.1.10/24`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressPrefix>,
    /// Default routers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Domains that short names are looked up in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<DomainName>,
}

impl Interface {
    /// Whether this interface asks DHCP.
    pub fn uses_dhcp(&self) -> bool {
        self.dhcp.unwrap_or(self.addresses.is_empty())
    }

    /// What contradicts itself in an otherwise well-formed entry.
    pub fn contradiction(&self) -> Option<String> {
        if !self.uses_dhcp() && self.addresses.is_empty() {
            return Some("neither DHCP nor an address: this interface would have none".into());
        }
        self.gateways.iter().find_map(|gateway| {
            let same_family = |a: &&AddressPrefix| a.address().is_ipv4() == gateway.is_ipv4();
            let mut candidates = self.addresses.iter().filter(same_family).peekable();
            if candidates.peek().is_none() {
                return (!self.uses_dhcp()).then(|| format!("gateway {gateway} has no address of its family"));
            }
            let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
            let reachable = link_local || candidates.any(|a| a.contains(*gateway));
            (!reachable).then(|| format!("gateway {gateway} is in the network of none of the addresses"))
        })
    }
}

checked_text! {
    /// Name of a network interface: at most 15 characters (`IFNAMSIZ` of Linux), with `*` and `?` as wild cards.
    InterfaceName, check_interface, "^[A-Za-z0-9._*?-]{1,15}$"
}

checked_text! {
    /// Hardware address, six pairs of hexadecimal digits; kept in lower case with colons.
    MacAddress, check_mac, "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"
}

checked_text! {
    /// An address with its prefix length: `192.168.1.10/24`, `fd00::10/64`.
    AddressPrefix, check_address, "^[0-9A-Fa-f.:]+/[0-9]{1,3}$"
}

checked_text! {
    /// A domain name, at most 253 characters.
    DomainName, check_domain
}

checked_text! {
    /// An address or a name of a time server.
    NtpServer, check_ntp
}

fn check_interface(text: &str) -> Result<String, String> {
    // Nothing here makes it, and so the settings would wait for ever.
    let vlan = text.rsplit_once('.').filter(|(port, id)| !port.is_empty() && id.parse::<u16>().is_ok());
    if vlan.is_some() && is_made_of(text, "._-") {
        return Err(format!(
            "'{}' is a VLAN, which these settings cannot make; bring a .netdev and a .network file of systemd-networkd in an overlay of the image",
            shown(text)
        ));
    }
    if (1..=15).contains(&text.len()) && is_made_of(text, "._*?-") && !matches!(text, "." | "..") {
        Ok(text.into())
    } else {
        Err(format!("'{}' is not a network interface: expected a name such as eth0, or en*", shown(text)))
    }
}

fn check_mac(text: &str) -> Result<String, String> {
    let pairs: Vec<&str> = text.split([':', '-']).collect();
    let pair_ok = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
    if pairs.len() == 6 && pairs.iter().all(pair_ok) {
        Ok(pairs.join(":").to_ascii_lowercase())
    } else {
        Err(format!("'{}' is not a hardware address: expected six pairs of hex digits, b8:27:eb:01:02:03", shown(text)))
    }
}

fn check_address(text: &str) -> Result<String, String> {
    let example = "expected an address with its prefix length, such as 192.168.1.10/24 or fd00::10/64";
    let wrong = || format!("'{}': {example}", shown(text));
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits_only = prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix = prefix.parse::<u8>().ok().filter(|&p| digits_only && (1..=longest).contains(&p)).ok_or_else(wrong)?;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(format!("'{}' can't be the address of an interface", shown(text)));
    }
    Ok(format!("{address}/{prefix}"))
}

impl AddressPrefix {
    pub fn address(&self) -> IpAddr {
        // Holds by construction; the fallback is never seen.
        let address = self.as_str().split_once('/').and_then(|(a, _)| a.parse().ok());
        address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    }

    /// Length of the network part in bits.
    pub fn prefix(&self) -> u8 {
        self.as_str().split_once('/').and_then(|(_, p)| p.parse().ok()).unwrap_or(0)
    }

    fn contains(&self, other: IpAddr) -> bool {
        let prefix = u32::from(self.prefix());
        match (self.address(), other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0,
            _ => false,
        }
    }
}

fn check_domain(text: &str) -> Result<String, String> {
    let label_ok =
        |l: &str| (1..=63).contains(&l.len()) && is_made_of(l, "-_") && !l.starts_with('-') && !l.ends_with('-');
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() <= 253 && name.split('.').all(label_ok) {
        Ok(name.into())
    } else {
        Err(format!("'{}' is not a domain name", shown(text)))
    }
}

fn check_ntp(text: &str) -> Result<String, String> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => check_domain(text)
            .map_err(|_| format!("'{}' is not a time server: expected a name or an address", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_sensible_prefix() {
        for good in ["192.168.1.10/24", "10.0.0.1/32", "fd00::10/64"] {
            assert_eq!(good.parse::<AddressPrefix>().unwrap().as_str(), good);
        }
        for bad in [
            "192.168.1.10",
            "192.168.1.10/33",
            "192.168.1.10/0",
            "192.168.1.10/+8",
            "1.2.3/8",
            "::/64",
            "127.0.0.1/8",
            "224.0.0.1/4",
            "1.2.3.4/24\n",
            "fe80::1%eth0/64",
        ] {
            assert!(bad.parse::<AddressPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn interfaces_and_hardware_addresses_are_checked() {
        for good in ["eth0", "en*", "wlan?", "br-lan"] {
            assert!(good.parse::<InterfaceName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "../x", "eth0\n[Network]", "aaaaaaaaaaaaaaaa", ".."] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad}");
        }
        for vlan in ["eth0.10", "end0.1"] {
            let error = vlan.parse::<InterfaceName>().unwrap_err();
            assert!(error.contains("VLAN") && error.contains(".netdev"), "{error}");
        }
        assert_eq!("B8-27-EB-01-02-03".parse::<MacAddress>().unwrap().as_str(), "b8:27:eb:01:02:03");
        for bad in ["", "b8:27:eb:01:02", "b8:27:eb:01:02:0g", "b827eb010203"] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_interface_that_could_not_be_reached_is_a_contradiction() {
        let interface = |dhcp, addresses: &[&str], gateways: &[&str]| Interface {
            dhcp,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            gateways: gateways.iter().map(|g| g.parse().unwrap()).collect(),
            ..Interface::default()
        };
        assert!(interface(Some(false), &[], &[]).contradiction().is_some());
        assert!(interface(None, &["192.168.1.5/24"], &["192.168.2.1"]).contradiction().is_some());
        assert!(interface(None, &["192.168.1.5/24"], &["fd00::1"]).contradiction().is_some());
        assert!(
            interface(None, &["192.168.1.5/24", "fd00::5/64"], &["192.168.1.1", "fe80::1"]).contradiction().is_none()
        );
        assert!(interface(None, &["10.0.0.1/32"], &["10.0.0.1"]).contradiction().is_none());
        assert!(interface(None, &[], &["10.0.0.1"]).contradiction().is_none());
        assert!(interface(None, &[], &[]).uses_dhcp());
        assert!(!interface(None, &["10.0.0.1/32"], &[]).uses_dhcp());
    }

    #[test]
    fn time_servers_are_names_or_addresses() {
        for good in ["pool.ntp.org", "192.0.2.1", "fd00::1", "ntp_1.example"] {
            assert!(good.parse::<NtpServer>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "-x", "a..b", "x\ny", "http://x"] {
            assert!(bad.parse::<NtpServer>().is_err(), "{bad}");
        }
    }
}
