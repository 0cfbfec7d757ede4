//! What a node and its image agree on: the boot-control block, the GUIDs of the disk, the kernel command line, the
//! configuration of fruit-init, the user's `fruit.yaml`, and configuration, installed files and status of agent,
//! updater and peer. Used on the workstation and on the device.

pub mod access;
pub mod agent;
pub mod autoboot;
pub mod bootctl;
pub mod cmdline;
pub mod config;
pub mod crc32;
pub mod guid;
pub mod hostname;
pub mod image_manifest;
pub mod init;
pub mod installed;
pub mod invite;
pub mod locale;
pub mod network;
pub mod peer;
pub mod read;
pub mod report;
pub mod settings;
pub mod template;
mod text;
pub mod unit;
pub mod update;
pub mod url;
pub mod values;
pub mod wifi;
mod yaml;

pub use bootctl::{BootControl, Slot};
pub use cmdline::CommandLine;
pub use config::NodeConfig;
pub use guid::Guid;
pub use hostname::{HostFacts, HostName, HostNameTemplate};
pub use init::{INIT_CONFIG_PATH, InitConfig, NODE_CONFIG_NAME};
pub use invite::InviteText;
pub use read::{Problem, line_of, read};
pub use report::{BOOT_REPORT_PATH, BootReport};
pub use template::fruit_yaml_template;
pub use unit::UnitName;
