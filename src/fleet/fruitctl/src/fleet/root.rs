//! `fruitctl fleet root`

use super::charter::Next;
use super::{CharterArgs, Opened, Options, adopt, public_key, usage};
use crate::failure::Failure;
use crate::output::print;
use clap::Args;
use fruit_record::KeyId;
use serde_json::json;

#[derive(Args)]
pub struct RootArgs {
    /// A root key by its name or the first 8 digits or more of it, and the public key (a line or a file) that takes its place;
    /// repeatable. `fruitctl operator key NAME` makes keys.
    #[arg(long, value_name = "OLD=NEW")]
    replace: Vec<String>,
    /// How many root keys sign a charter.
    #[arg(long, value_name = "N")]
    threshold: Option<u64>,
    #[command(flatten)]
    charter: CharterArgs,
}

impl RootArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut opened = Opened::change(options)?;
        let mut charter = opened.charter().clone();
        for option in &self.replace {
            let (old, new) = option
                .split_once('=')
                .ok_or_else(|| usage(format!("{option:?}: expected OLD=NEW, such as root-2=new.pub")))?;
            let old = find(&opened, &charter.root, old)?;
            let new = public_key(new)?;
            if charter.root.contains(&new) {
                return Err(usage(format!("{}: it is a root key already", opened.name_of(&new))));
            }
            charter.root.retain(|key| *key != old);
            charter.root.push(new);
        }
        charter.root.sort_unstable();
        charter.threshold = self.threshold.unwrap_or(charter.threshold);
        if matches!(adopt(&mut opened, charter, &self.charter, options)?, Next::Waits) {
            return Ok(());
        }
        let charter = opened.charter();
        let (threshold, count, version) = (charter.threshold, charter.root.len(), opened.replica.trust().version());
        if options.json {
            let keys: Vec<String> = charter.root.iter().map(ToString::to_string).collect();
            print(format_args!("{:#}", json!({"version": version, "threshold": threshold, "root": keys})));
        } else {
            print(format_args!("{threshold} of {count} root keys sign the next charter; charter {version}"));
        }
        super::show::warn_of_roots(&opened, options);
        Ok(())
    }
}

fn find(opened: &Opened, root: &[KeyId], text: &str) -> Result<KeyId, Failure> {
    let is = |key: &&KeyId| opened.name_of(key) == text || (text.len() >= 8 && key.to_string().starts_with(text));
    let found: Vec<&KeyId> = root.iter().filter(is).collect();
    match found.as_slice() {
        [one] => Ok(**one),
        _ => {
            let names: Vec<String> = root.iter().map(|key| opened.name_of(key)).collect();
            Err(usage(format!("{text:?} is no root key; there are {}", names.join(", "))))
        }
    }
}
