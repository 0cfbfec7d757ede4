//! The targets as modules, and by name.

#[path = "fuzz_targets/agent_account.rs"]
pub mod agent_account;
#[path = "fuzz_targets/agent_config.rs"]
pub mod agent_config;
#[path = "fuzz_targets/agent_request.rs"]
pub mod agent_request;
#[path = "fuzz_targets/bmap.rs"]
pub mod bmap;
#[path = "fuzz_targets/board.rs"]
pub mod board;
#[path = "fuzz_targets/boot_control.rs"]
pub mod boot_control;
#[path = "fuzz_targets/boot_report.rs"]
pub mod boot_report;
#[path = "fuzz_targets/bundle.rs"]
pub mod bundle;
#[path = "fuzz_targets/command_line.rs"]
pub mod command_line;
#[path = "fuzz_targets/copyright.rs"]
pub mod copyright;
#[path = "fuzz_targets/cpio.rs"]
pub mod cpio;
#[path = "fuzz_targets/data_partition.rs"]
pub mod data_partition;
#[path = "fuzz_targets/date.rs"]
pub mod date;
#[path = "fuzz_targets/deb.rs"]
pub mod deb;
#[path = "fuzz_targets/delta_patch.rs"]
pub mod delta_patch;
#[path = "fuzz_targets/draft.rs"]
pub mod draft;
#[path = "fuzz_targets/erofs.rs"]
pub mod erofs;
#[path = "fuzz_targets/fat.rs"]
pub mod fat;
#[path = "fuzz_targets/fleet_invite.rs"]
pub mod fleet_invite;
#[path = "fuzz_targets/fleet_record.rs"]
pub mod fleet_record;
#[path = "fuzz_targets/glob.rs"]
pub mod glob;
#[path = "fuzz_targets/gpt.rs"]
pub mod gpt;
#[path = "fuzz_targets/host_name_template.rs"]
pub mod host_name_template;
#[path = "fuzz_targets/in_release.rs"]
pub mod in_release;
#[path = "fuzz_targets/index.rs"]
pub mod index;
#[path = "fuzz_targets/init_config.rs"]
pub mod init_config;
#[path = "fuzz_targets/inspect.rs"]
pub mod inspect;
#[path = "fuzz_targets/keyring.rs"]
pub mod keyring;
#[path = "fuzz_targets/lock.rs"]
pub mod lock;
#[path = "fuzz_targets/maintainer_script.rs"]
pub mod maintainer_script;
#[path = "fuzz_targets/mirror.rs"]
pub mod mirror;
#[path = "fuzz_targets/module.rs"]
pub mod module;
#[path = "fuzz_targets/module_index.rs"]
pub mod module_index;
#[path = "fuzz_targets/node_config.rs"]
pub mod node_config;
#[path = "fuzz_targets/overlay_rules.rs"]
pub mod overlay_rules;
#[path = "fuzz_targets/paragraph.rs"]
pub mod paragraph;
#[path = "fuzz_targets/peer_frame.rs"]
pub mod peer_frame;
#[path = "fuzz_targets/pieces_socket.rs"]
pub mod pieces_socket;
#[path = "fuzz_targets/private_key.rs"]
pub mod private_key;
#[path = "fuzz_targets/recipe.rs"]
pub mod recipe;
#[path = "fuzz_targets/relations.rs"]
pub mod relations;
#[path = "fuzz_targets/release_metadata.rs"]
pub mod release_metadata;
#[path = "fuzz_targets/seek_table.rs"]
pub mod seek_table;
#[path = "fuzz_targets/stack_answer.rs"]
pub mod stack_answer;
#[path = "fuzz_targets/stack_request.rs"]
pub mod stack_request;
#[path = "fuzz_targets/stacks_file.rs"]
pub mod stacks_file;
#[path = "fuzz_targets/sums.rs"]
pub mod sums;
#[path = "fuzz_targets/tar.rs"]
pub mod tar;
#[path = "fuzz_targets/uboot_environment.rs"]
pub mod uboot_environment;
#[path = "fuzz_targets/uboot_script.rs"]
pub mod uboot_script;
#[path = "fuzz_targets/verity.rs"]
pub mod verity;
#[path = "fuzz_targets/verity_params.rs"]
pub mod verity_params;
#[path = "fuzz_targets/version.rs"]
pub mod version;

/// What a target does with an input.
pub type Target = fn(&[u8]);

pub const ALL: &[(&str, Target)] = &[
    ("agent_account", agent_account::run),
    ("agent_config", agent_config::run),
    ("agent_request", agent_request::run),
    ("bmap", bmap::run),
    ("board", board::run),
    ("boot_control", boot_control::run),
    ("boot_report", boot_report::run),
    ("bundle", bundle::run),
    ("command_line", command_line::run),
    ("copyright", copyright::run),
    ("cpio", cpio::run),
    ("data_partition", data_partition::run),
    ("date", date::run),
    ("deb", deb::run),
    ("delta_patch", delta_patch::run),
    ("draft", draft::run),
    ("erofs", erofs::run),
    ("fat", fat::run),
    ("fleet_invite", fleet_invite::run),
    ("fleet_record", fleet_record::run),
    ("glob", glob::run),
    ("gpt", gpt::run),
    ("host_name_template", host_name_template::run),
    ("in_release", in_release::run),
    ("index", index::run),
    ("init_config", init_config::run),
    ("inspect", inspect::run),
    ("keyring", keyring::run),
    ("lock", lock::run),
    ("maintainer_script", maintainer_script::run),
    ("mirror", mirror::run),
    ("module", module::run),
    ("module_index", module_index::run),
    ("node_config", node_config::run),
    ("overlay_rules", overlay_rules::run),
    ("paragraph", paragraph::run),
    ("peer_frame", peer_frame::run),
    ("pieces_socket", pieces_socket::run),
    ("private_key", private_key::run),
    ("recipe", recipe::run),
    ("relations", relations::run),
    ("release_metadata", release_metadata::run),
    ("seek_table", seek_table::run),
    ("stack_answer", stack_answer::run),
    ("stack_request", stack_request::run),
    ("stacks_file", stacks_file::run),
    ("sums", sums::run),
    ("tar", tar::run),
    ("uboot_environment", uboot_environment::run),
    ("uboot_script", uboot_script::run),
    ("verity", verity::run),
    ("verity_params", verity_params::run),
    ("version", version::run),
];
