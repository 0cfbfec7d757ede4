//! What records may cost. Sizes are checked before anything is parsed, counts while it is.

/// Bytes of a charter's body.
pub const CHARTER: usize = 16 << 10;
/// Bytes of any other body; what is larger is named by the SHA-256 of a blob.
pub const BODY: usize = 4 << 10;
/// Bytes of the body of what a node says of itself.
pub const NODE_BODY: usize = 1 << 10;
/// Signatures on one record.
pub const SIGNATURES: usize = 16;
/// Bytes around a body: head and signatures.
pub const AROUND: usize = 256 + SIGNATURES * 96;
/// Bytes of the largest record.
pub const RECORD: usize = CHARTER + AROUND;
/// Characters of a record's name, of a label's key and of its value.
pub const NAME: usize = 64;
/// Bytes of a text that people read.
pub const TEXT: usize = 256;
/// Root keys of a charter.
pub const ROOT_KEYS: usize = 16;
/// Operators of a charter.
pub const OPERATORS: usize = 64;
/// Relays, seeds, roots of releases, or rules of a charter.
pub const ENTRIES: usize = 32;
/// Labels of a node, terms of a selector's alternative.
pub const LABELS: usize = 16;
/// Alternatives of a selector.
pub const ALTERNATIVES: usize = 16;
/// Charters from the first to the present one.
pub const CHARTERS: usize = 1024;
/// Records of operators that a replica holds, members and revocations aside.
pub const OPERATOR_RECORDS: usize = 2000;
/// Their bytes.
pub const OPERATOR_BYTES: usize = 1 << 20;
/// Members, and invites, that a replica holds.
pub const MEMBERS: usize = 32 << 10;
/// Revocations that a replica holds.
pub const REVOCATIONS: usize = 8 << 10;
/// Recalls, halts and floors that a replica holds.
pub const STOPS: usize = 512;
/// Records of one file or stream: all that a replica holds, with four of each member.
pub const PACKED: usize = CHARTERS + OPERATOR_RECORDS + REVOCATIONS + STOPS + 5 * MEMBERS;
/// How far a record's epoch may be ahead of its class's floor.
pub const EPOCHS_AHEAD: u64 = 1024;
/// Bytes of a blob that a floor names.
pub const BLOB: usize = 32 * MEMBERS;
/// Conflicts that a replica remembers, for people to see: half of them of operators, half of nodes.
pub const CONFLICTS: usize = 256;
/// Characters of an invite.
pub const INVITE: usize = 4096;
/// Bytes of a request to become a member.
pub const REQUEST: usize = 8 << 10;
/// Bytes of a secret that is sealed, and nodes that it is sealed to.
pub const SECRET: usize = 512;
pub const RECIPIENTS: usize = 32;
