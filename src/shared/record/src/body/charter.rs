//! The fleet's root of trust.

use fruit_base::Sha256;

use crate::class::{Class, Roles, Signers};
use crate::id::KeyId;
use crate::limits::{ENTRIES, NAME, OPERATORS, ROOT_KEYS, TEXT};
use crate::selector::Selector;
use crate::wire::is_name;
use crate::wire::{Content, FieldWriter, Fields, Malformed, Reader, Writer, ascending};

/// Who is trusted with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charter {
    /// The fleet's name, for people.
    pub name: String,
    /// Random: two fleets with the same name and keys are two.
    pub nonce: [u8; 16],
    /// Keys that sign charters, ascending.
    pub root: Vec<KeyId>,
    /// How many of them must sign the next charter.
    pub threshold: u64,
    /// Ascending by name.
    pub operators: Vec<Operator>,
    /// What one operator alone cannot sign; ascending.
    pub rules: Vec<Rule>,
    /// Whose releases nodes install; ascending.
    pub releases: Vec<ReleaseRoot>,
    pub relays: Vec<Relay>,
    pub seeds: Vec<Seed>,
}

/// A person or a service that signs records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operator {
    pub name: String,
    pub key: KeyId,
    pub roles: Roles,
    /// Nodes that the roles are for.
    pub scope: Selector,
    /// Seconds since 1970 after which nothing that this key has signed counts; 0: never.
    pub expires: u64,
}

/// How many operators must sign a class of records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rule {
    pub class: Class,
    /// From this number of nodes on.
    pub from: u64,
    pub needed: u64,
}

/// A repository of releases that nodes accept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ReleaseRoot {
    pub product: String,
    /// SHA-256 of the repository's `1.root.json`.
    pub root: Sha256,
}

/// A relay.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Relay {
    /// `HOST:PORT` or `[IPv6]:PORT`.
    pub address: String,
    /// SHA-256 of its certificate.
    pub pin: Sha256,
}

/// A member that others turn to first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seed {
    pub node: KeyId,
    pub address: String,
}

impl Charter {
    /// How many operators must sign a record of `class` that reaches so many nodes.
    #[must_use]
    pub fn needed(&self, class: Class, reach: u64) -> u64 {
        let rules = self.rules.iter().filter(|rule| rule.class == class && rule.from <= reach);
        rules.map(|rule| rule.needed).max().unwrap_or(1).max(1)
    }

    #[must_use]
    pub fn operator(&self, name: &str) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.name == name)
    }

    fn check(&self) -> Result<(), Malformed> {
        let wrong = |what, why| Err(Malformed::Value { what, why });
        ascending(&self.root, "the root keys")?;
        let names: Vec<&str> = self.operators.iter().map(|operator| operator.name.as_str()).collect();
        ascending(&names, "the operators")?;
        ascending(&self.rules, "the rules")?;
        ascending(&self.releases, "the roots of releases")?;
        ascending(&self.relays, "the relays")?;
        ascending(&self.seeds, "the seeds")?;
        if self.root.is_empty() || !(1..=self.root.len() as u64).contains(&self.threshold) {
            return wrong("the root threshold", "it is not between 1 and the number of root keys");
        }
        if !self.root.iter().chain(self.operators.iter().map(|operator| &operator.key)).all(|key| key.key().is_some()) {
            return wrong("a key", "it is no ed25519 public key, or a weak one");
        }
        let mut keys: Vec<KeyId> = self.operators.iter().map(|operator| operator.key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|two| two[0] == two[1]) {
            return wrong("the operators", "two have the same key");
        }
        if self.operators.iter().any(|operator| operator.roles.is_empty()) {
            return wrong("an operator", "it has no role");
        }
        let by_operators = |class: Class| matches!(class.signers(), Signers::Operators(_));
        if !self.rules.iter().all(|rule| by_operators(rule.class) && (2..=16).contains(&rule.needed)) {
            return wrong("a rule", "it is for a class that operators sign, and wants 2 to 16 of them");
        }
        if self.rules.iter().any(|rule| rule.from > 0 && rule.class != Class::Plan) {
            return wrong(
                "a rule",
                "only a plan says how many nodes it reaches: for other classes a rule begins with 0",
            );
        }
        Ok(())
    }
}

fn name(reader: &mut Reader<'_>, what: &'static str) -> Result<String, Malformed> {
    let name = reader.text(NAME, what)?;
    if is_name(&name) { Ok(name) } else { Err(Malformed::Value { what, why: "it is no name" }) }
}

/// Whether this can be an address: what it leads to is found out when it is used.
pub(crate) fn address(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let what = "an address";
    let text = reader.text(TEXT, what)?;
    let port = text.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>().ok())?);
    match port {
        Some(1..) if !text.contains(char::is_whitespace) => Ok(text),
        _ => Err(Malformed::Value { what, why: "it is not of the form HOST:PORT" }),
    }
}

fn write_operator(w: &mut Writer, operator: &Operator) {
    w.bytes(operator.name.as_bytes());
    w.raw(&operator.key.0);
    w.number(operator.roles.bits());
    operator.scope.write(w);
    w.number(operator.expires);
}

fn read_operator(r: &mut Reader<'_>) -> Result<Operator, Malformed> {
    Ok(Operator {
        name: name(r, "an operator's name")?,
        key: KeyId::read(r)?,
        roles: Roles::from_bits(r.number("roles")?),
        scope: Selector::read(r)?,
        expires: r.number("an expiry")?,
    })
}

fn read_rule(r: &mut Reader<'_>) -> Result<Rule, Malformed> {
    let [class] = r.array("a rule")?;
    let class = Class::from_number(class).ok_or(Malformed::Newer { what: "class", number: class.into() })?;
    Ok(Rule { class, from: r.number("a rule")?, needed: r.number("a rule")? })
}

impl Relay {
    pub(crate) fn write(w: &mut Writer, relay: &Relay) {
        w.bytes(relay.address.as_bytes());
        w.raw(&relay.pin.0);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Relay, Malformed> {
        Ok(Relay { address: address(r)?, pin: Sha256(r.array("a relay")?) })
    }
}

impl Seed {
    pub(crate) fn write(w: &mut Writer, seed: &Seed) {
        w.raw(&seed.node.0);
        w.bytes(seed.address.as_bytes());
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Seed, Malformed> {
        Ok(Seed { node: KeyId::read(r)?, address: address(r)? })
    }
}

impl Content for Charter {
    const WHAT: &'static str = "the charter";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, self.name.as_bytes());
        fields.list(2, &self.root, |w, key| w.raw(&key.0));
        fields.number(3, self.threshold);
        fields.list(4, &self.operators, write_operator);
        fields.list(5, &self.rules, |w, rule| {
            w.raw(&[rule.class as u8]);
            w.number(rule.from);
            w.number(rule.needed);
        });
        fields.list(6, &self.releases, |w, root| {
            w.bytes(root.product.as_bytes());
            w.raw(&root.root.0);
        });
        fields.list(7, &self.relays, Relay::write);
        fields.list(8, &self.seeds, Seed::write);
        fields.raw(9, &self.nonce);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Charter, Malformed> {
        let mut charter = Charter {
            name: fields.text(1, NAME, "the fleet's name")?,
            nonce: [0; 16],
            root: fields.list(2, ROOT_KEYS, "the root keys", KeyId::read)?,
            threshold: fields.number(3, "the root threshold")?,
            operators: fields.list(4, OPERATORS, "the operators", read_operator)?,
            rules: fields.list(5, ENTRIES, "the rules", read_rule)?,
            releases: fields.list(6, ENTRIES, "the roots of releases", |r| {
                Ok(ReleaseRoot { product: name(r, "a product")?, root: Sha256(r.array("a root of releases")?) })
            })?,
            relays: fields.list(7, ENTRIES, "the relays", Relay::read)?,
            seeds: fields.list(8, ENTRIES, "the seeds", Seed::read)?,
        };
        charter.nonce = fields.required(9, "the nonce", |r| r.array("the nonce"))?;
        if !is_name(&charter.name) {
            return Err(Malformed::Value { what: "the fleet's name", why: "it is no name" });
        }
        charter.check()?;
        Ok(charter)
    }
}
