use std::collections::BTreeMap;

/// What finishing and script accounting need of one unpacked package.
#[derive(Clone, Debug, Default)]
pub struct PackageScripts {
    /// Binary package name, without architecture.
    pub name: String,
    pub version: String,
    /// Text of the control members by name: `preinst`, `postinst`, `config`, `triggers`; others are ignored.
    pub scripts: BTreeMap<String, String>,
    /// Absolute paths, as in the control member `conffiles`.
    pub conffiles: Vec<String>,
    /// Names in its Pre-Depends and Depends, alternatives included.
    pub depends: Vec<String>,
    /// Paths of the package's files relative to the root, without leading `/` or `./`.
    pub paths: Vec<String>,
}
