//! Tests on real Debian packages, fetched by the host's apt. They need the network; the oracle needs root as well.

mod archive;
mod depmod;
mod node;
mod oracle;
mod scripts;
