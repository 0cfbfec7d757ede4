//! `sysctl`: settings of the running kernel (sysctl.d(5)).

use crate::declare::text;
use crate::decode::{Flaw, scalar, wrong_type};
use crate::diagnostic::{Diagnostics, similar};
use crate::node::{Kind, Node, scalar_value, shorten};

/// Folders of /proc/sys (kernel documentation, admin-guide/sysctl).
const TOPS: &[&str] = &["abi", "crypto", "debug", "dev", "fs", "kernel", "net", "sunrpc", "user", "vm", "xen"];

/// Longest value; the kernel reads a page.
const MAX_VALUE: usize = 4095;

text! {
    /// The name of a setting below `/proc/sys`: `vm.swappiness`, `net.ipv4.ip_forward`. With slashes, dots are part of a name:
    /// `net/ipv4/conf/eth0.5/forwarding`. systemd knows `*` for any one name.
    "a setting such as `vm.swappiness`"
    pub struct SysctlName = |text| {
        let dots = text.find('/').is_none_or(|slash| text[..slash].contains('.'));
        let parts: Vec<&str> = text.split(if dots { '.' } else { '/' }).collect();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-*".contains(c) || c == if dots { '/' } else { '.' };
        let good = |part: &&str| !part.is_empty() && part.chars().all(allowed) && !matches!(*part, "." | "..");
        if text.len() > 256 || parts.len() < 2 || !parts.iter().all(good) {
            return Err(Flaw::new(format!("`{}` is not the name of a setting below /proc/sys", shorten(text))));
        }
        if TOPS.contains(&parts[0]) {
            return Ok(());
        }
        let flaw = Flaw::new(format!("/proc/sys has no `{}`", shorten(parts[0])));
        Err(match similar(parts[0], TOPS) {
            // `netipv4` lacks a dot; that nothing else is wrong with it is likelier than three letters too many.
            Some(best) if parts[0].starts_with(best.as_str()) && parts[0].len() > best.len() => {
                flaw.did_you_mean(format!("{best}{}{}", if dots { '.' } else { '/' }, &text[best.len()..]))
            }
            Some(best) => flaw.did_you_mean(format!("{best}{}", &text[parts[0].len()..])),
            None => flaw.help(format!("names begin with one of {}", TOPS.join(", "))),
        })
    }, pattern r"^(abi|crypto|debug|dev|fs|kernel|net|sunrpc|user|vm|xen)[./].+$";
}

impl SysctlName {
    /// The path below /proc/sys, by which two spellings of one setting are the same.
    pub fn path(&self) -> String {
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        };
        let slashes = self.0.find(['.', '/']).is_some_and(|at| self.0.as_bytes()[at] == b'/');
        if slashes { self.0.clone() } else { self.0.chars().map(swap).collect() }
    }
}

/// What a setting is set to: a number, or a text of one line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct SysctlValue(String);

impl SysctlValue {
    /// The text that is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl crate::decode::Decode for SysctlValue {
    fn what() -> String {
        "a number or a text of one line".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let Kind::Scalar { text, plain } = &node.kind else {
            wrong_type::<Self>(node, found);
            return None;
        };
        let is_boolean = matches!(scalar_value(text, *plain), serde_json::Value::Bool(_));
        scalar(node, found, |text| {
            if is_boolean {
                let meant = if text.eq_ignore_ascii_case("true") { "1" } else { "0" };
                return Err(Flaw::new("the kernel's switches are numbers").did_you_mean(meant));
            }
            if text.trim().is_empty() || text.len() > MAX_VALUE || text.chars().any(|c| c.is_control() && c != '\t') {
                return Err(Flaw::new(format!("a setting has a value of 1 to {MAX_VALUE} characters on one line")));
            }
            Ok(Self(text.trim().to_owned()))
        })
    }
}

impl schemars::JsonSchema for SysctlValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SysctlValue".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "number"], "minLength": 1})
    }
}
