//! Kinds of records: who signs them, who keeps them, and in which order they travel.

use std::fmt;

use crate::limits;

/// What a record is about. In the order of their numbers records travel: what takes trust away comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Class {
    /// The fleet's root of trust.
    Charter = 1,
    /// A node or an invite that counts no longer.
    Revocation = 2,
    /// A release that every node has to leave.
    Recall = 3,
    /// A plan that must not go on.
    Halt = 4,
    /// Which older records of a class still count.
    Floor = 5,
    /// What is to run where, and in which steps.
    Plan = 6,
    /// Nodes under one name.
    Group = 7,
    /// Settings of nodes.
    Config = 8,
    /// A container on nodes.
    App = 9,
    /// A script that runs once on each node.
    Job = 10,
    /// Nodes that keep what they run.
    Hold = 11,
    /// A node that belongs to the fleet.
    Member = 16,
    /// A key with which nodes may ask to become members.
    Invite = 17,
    /// What a node says of itself.
    Report = 32,
    /// Where a node can be reached.
    Beacon = 33,
    /// What a node thinks of the release that it tried.
    Vote = 34,
    /// What came of a job on a node.
    JobResult = 35,
}

/// Who has to sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signers {
    /// Root keys of this charter and of the one before.
    Root,
    /// Operators with this role, as many as the charter wants.
    Operators(Role),
    /// The node that the record is about.
    Node,
}

/// What identifies a record among those of its class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyShape {
    /// There is one.
    Single,
    /// A name that an operator chose.
    Name,
    /// A public key.
    Id,
}

impl Class {
    pub const ALL: [Class; 17] = [
        Class::Charter,
        Class::Revocation,
        Class::Recall,
        Class::Halt,
        Class::Floor,
        Class::Plan,
        Class::Group,
        Class::Config,
        Class::App,
        Class::Job,
        Class::Hold,
        Class::Member,
        Class::Invite,
        Class::Report,
        Class::Beacon,
        Class::Vote,
        Class::JobResult,
    ];

    #[must_use]
    pub fn from_number(number: u8) -> Option<Class> {
        Class::ALL.into_iter().find(|class| *class as u8 == number)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Charter => "charter",
            Class::Revocation => "revocation",
            Class::Recall => "recall",
            Class::Halt => "halt",
            Class::Floor => "floor",
            Class::Plan => "plan",
            Class::Group => "group",
            Class::Config => "config",
            Class::App => "app",
            Class::Job => "job",
            Class::Hold => "hold",
            Class::Member => "member",
            Class::Invite => "invite",
            Class::Report => "report",
            Class::Beacon => "beacon",
            Class::Vote => "vote",
            Class::JobResult => "job-result",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

    #[must_use]
    pub fn signers(self) -> Signers {
        match self {
            Class::Charter => Signers::Root,
            Class::Revocation | Class::Member | Class::Invite => Signers::Operators(Role::Enrol),
            Class::Recall | Class::Halt | Class::Plan => Signers::Operators(Role::Deploy),
            Class::Floor => Signers::Operators(Role::Admin),
            Class::Group | Class::Config | Class::App | Class::Hold => Signers::Operators(Role::Config),
            Class::Job => Signers::Operators(Role::Run),
            Class::Report | Class::Beacon | Class::Vote | Class::JobResult => Signers::Node,
        }
    }

    #[must_use]
    pub fn key_shape(self) -> KeyShape {
        match self {
            Class::Charter => KeyShape::Single,
            Class::Revocation | Class::Member | Class::Invite => KeyShape::Id,
            Class::Report | Class::Beacon | Class::Vote | Class::JobResult => KeyShape::Id,
            _ => KeyShape::Name,
        }
    }

    /// Bytes of its longest body.
    #[must_use]
    pub fn body_limit(self) -> usize {
        match self.signers() {
            Signers::Root => limits::CHARTER,
            Signers::Operators(_) => limits::BODY,
            Signers::Node => limits::NODE_BODY,
        }
    }

    /// Whether a floor may say which older records count. What takes trust away stays for ever.
    #[must_use]
    pub fn has_floor(self) -> bool {
        matches!(self.signers(), Signers::Operators(_)) && !matches!(self, Class::Revocation | Class::Floor)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an operator may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Role {
    /// See records and reports.
    View = 0,
    /// Use a shell on nodes, run jobs.
    Run = 1,
    /// Change groups, settings and apps.
    Config = 2,
    /// Roll releases out, halt and recall them.
    Deploy = 3,
    /// Switch nodes on and off.
    Power = 4,
    /// Invite, take in and revoke nodes.
    Enrol = 5,
    /// Compact records.
    Admin = 6,
}

impl Role {
    pub const ALL: [Role; 7] =
        [Role::View, Role::Run, Role::Config, Role::Deploy, Role::Power, Role::Enrol, Role::Admin];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::View => "view",
            Role::Run => "run",
            Role::Config => "config",
            Role::Deploy => "deploy",
            Role::Power => "power",
            Role::Enrol => "enrol",
            Role::Admin => "admin",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Several roles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roles(u64);

impl Roles {
    #[must_use]
    pub fn all() -> Roles {
        Role::ALL.into_iter().collect()
    }

    #[must_use]
    pub fn have(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.have(*role))
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One bit for each role; bits of roles that are not known here are kept, and mean nothing.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    #[must_use]
    pub fn from_bits(bits: u64) -> Roles {
        Roles(bits)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Roles {
        Roles(roles.into_iter().fold(0, |bits, role| bits | 1 << role as u8))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_roles_have_one_name_and_number_each() {
        for class in Class::ALL {
            assert_eq!((Class::from_name(class.name()), Class::from_number(class as u8)), (Some(class), Some(class)));
        }
        assert!(Class::ALL.is_sorted(), "records travel in this order");
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
            assert!(Roles::all().have(role) && !Roles::default().have(role));
        }
        assert_eq!(Roles::from_iter([Role::Enrol, Role::View]).to_string(), "view,enrol");
    }
}
