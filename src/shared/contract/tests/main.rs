//! What programs of a node and of a workstation agree on. One program: each one more would be linked with everything that it needs.

mod agent_config;
mod bootctl;
mod fruit_yaml;
