//! Recipe and board files: reading, merging by `extends`, checking, and showing where a mistake is.
//!
//! [`load`] is the way in. A [`Recipe`] that exists is a valid one. Values that a later step may find fault with are wrapped in
//! [`At`], and [`Diagnostic::at`] shows the line that such a value was written on.

mod board;
mod containers;
mod declare;
mod decode;
mod describe;
mod diagnostic;
mod downloads;
mod files;
mod load;
mod loader;
mod login;
mod merge;
mod node;
mod python;
mod recipe;
mod rules;
mod schema;
mod scripts;
mod section;
mod size;
mod source;
mod starter;
mod sysctl;
mod variables;
mod words;

pub use board::{
    Alignment, Architecture, Board, BoardKernel, BoardModules, Compatible, DeviceTrees, FileOfPackage, FirmwareFiles,
    FirmwarePartition, KernelForm, PartitionTable, Qemu, QemuDisk,
};
pub use containers::{
    Container, ContainerDevice, ContainerName, ContainerNetwork, EnvironmentName, ImageReference, OneLine,
    PublishedPorts, RunContainer, VolumeMount,
};
pub use decode::{Named, Whole};
pub use diagnostic::{Diagnostic, Diagnostics, Severity, similar};
pub use downloads::{ArchivePath, Checksum, Checksum512, Destination, Download, DownloadName, PerArchitecture, Pick};
pub use files::{File, FileMode, FileOwner, FilePath, FileSettings};
pub use load::{OverlayFolder, Recipe, Search, check_board, check_recipe, load, load_board, load_set};
pub use loader::{Address, BootCommand, Bootloader, Tryboot, UBoot, UBootDisk, UBootMachine, Variable};
pub use login::{HostName, Password, SshKey};
pub use node::{MAX_BYTES, MAX_DEPTH, MAX_NODES};
pub use python::{Python, Requirement};
pub use recipe::{
    Distribution, Extends, Group, InitSystem, Kernel, Outputs, Partitions, Prune, RecipeFile, Repository,
    RepositoryName, Root, RootFormat, Services, User,
};
pub use schema::{board_schema, recipe_schema};
pub use scripts::{DebconfAnswer, DebconfQuestion, ScriptsMode};
pub use section::{Section, read_str};
pub use size::{OverlayCap, PartitionSize, Size};
pub use source::{At, Place, Source};
pub use starter::{Answers, Base, starter};
pub use sysctl::{SysctlName, SysctlValue};
pub use variables::{RecipeVariable, VariableKind, VariableName, VariableSettings, VariableValue};
pub use words::{
    BoardName, Component, Console, DevicePath, FatPath, Glob, GroupName, ImageName, ImageVersion, KernelWord, Language,
    Locale, Machine, ModuleName, ModuleSet, OverlayName, PackageName, PackagePath, StatePath, Suite, TimeZone,
    UnitName, Url, UserName,
};
