//! `fruitctl cp`

use super::ssh::{Reach, account, run, with_user};
use crate::failure::{EXIT_CODES, Failure};
use crate::fleet::{Options, usage};
use crate::net::{Contact, open_way};
use clap::Args;

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct CpArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    contact: Contact,
    /// Copy folders with all that is in them.
    #[arg(long, short)]
    recursive: bool,
    /// Keep times and modes.
    #[arg(long, short)]
    preserve: bool,
    /// Private key for ssh; without it: those of ssh itself.
    #[arg(long, short, value_name = "FILE")]
    identity: Option<std::path::PathBuf>,
    /// Files to copy, and at last where to: paths here, or `[USER@]NODE:PATH` on one node.
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    files: Vec<String>,
}

/// `[USER@]NODE:PATH`, unless it is a path here: one with a `/` before the first `:`.
fn remote(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(node, _)| !node.is_empty() && !node.contains('/'))
}

impl CpArgs {
    pub fn run(self) -> Result<(), Failure> {
        let named = |text: &String| remote(text).map(|(node, _)| account(node).1.to_owned());
        let mut found: Vec<String> = self.files.iter().filter_map(named).collect();
        found.sort();
        found.dedup();
        let [name] = found.as_slice() else {
            return Err(usage("cp copies from one node or to it: name it as NODE:PATH; `fruitctl exec` does for many"));
        };
        let target = Reach::of(&self.options, name)?;
        let way = open_way(&self.options, &self.contact)?;
        let mut command = target.command("scp");
        for (flag, is_set) in [("-r", self.recursive), ("-p", self.preserve)] {
            command.args(is_set.then_some(flag));
        }
        if let Some(file) = &self.identity {
            command.arg("-i").arg(file);
        }
        command.arg("--");
        command.args(self.files.iter().map(|text| match remote(text) {
            Some((node, path)) => format!("{}:{path}", with_user(account(node).0, &target.name)),
            // scp takes what has a colon in it for another machine's.
            None if text.contains(':') && !text.starts_with('/') => format!("./{text}"),
            None => text.clone(),
        }));
        let ended = run(&mut command);
        way.end(&self.options)?;
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::remote;

    #[test]
    fn paths_of_nodes_are_told_from_those_here() {
        assert_eq!(remote("root@pi-1:/etc/a:b"), Some(("root@pi-1", "/etc/a:b")));
        assert_eq!((remote("./a:b"), remote("a"), remote(":a")), (None, None, None));
    }
}
