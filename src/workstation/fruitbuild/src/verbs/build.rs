//! `fruitbuild build`

use crate::cli;
use crate::failure::Failure;
use crate::pipeline::{self, outputs::Outcome};
use crate::progress::Progress;

pub fn build(options: &cli::Build, json: bool, progress: &Progress) -> Result<(), Failure> {
    let outcome = pipeline::build(options, progress)?;
    if json {
        outln!("{}", serde_json::to_string_pretty(&outcome).map_err(|error| Failure::general(error.to_string()))?);
    } else {
        print(&outcome, progress);
    }
    Ok(())
}

fn print(outcome: &Outcome, progress: &Progress) {
    if outcome.changed {
        progress.say(format!("{:>10}  {:>10}  partition", "MiB used", "of MiB"));
        for partition in outcome.summary["partitions"].as_array().into_iter().flatten() {
            let mib = |key: &str| partition[key].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
            let name = partition["name"].as_str().unwrap_or_default();
            progress.say(format!("{:>10.1}  {:>10.1}  {name}", mib("used"), mib("size")));
        }
        progress.say(format!("{:>10}  pruned by", "MiB saved"));
        for rule in outcome.summary["pruned"].as_array().into_iter().flatten() {
            let saved = rule["bytes"].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
            progress.say(format!("{saved:>10.1}  {}", rule["rule"].as_str().unwrap_or_default()));
        }
        progress.say(format!("{:>10.1}  MiB to write to a card", outcome.mapped as f64 / f64::from(1 << 20)));
    }
    for output in &outcome.outputs {
        outln!("{}", output.path.display());
    }
}
