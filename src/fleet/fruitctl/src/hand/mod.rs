//! The remote hand: shells, commands, files and ports of nodes, by ssh, through the fleet's network. Nodes check whether the operator
//! may; ssh checks the node's host key by the report that the node has signed.

mod config;
mod copy;
mod exec;
mod forward;
mod proxy;
mod ssh;

pub use config::ConfigArgs;
pub use copy::CpArgs;
pub use exec::ExecArgs;
pub use forward::ForwardArgs;
pub use proxy::ProxyArgs;
pub use ssh::SshArgs;
