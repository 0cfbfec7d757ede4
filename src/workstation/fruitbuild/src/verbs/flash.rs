//! `fruitbuild flash`

use std::io::{IsTerminal, Write};
use std::path::Path;

use fruit_flash::{FlashError, Flashed, Source, System, Target, Transport, node_config};
use serde_json::json;

use crate::cli;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;

/// Writes an image to a disk: `fruitbuild flash`.
///
/// # Errors
/// The image or the target is not fit for it, nobody agreed, or reading or writing failed.
pub fn flash(options: &cli::Flash, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let system = System::default();
    let (Some(image), Some(target), false) = (&options.image, &options.target, options.list) else {
        return list(&system, as_json);
    };
    // Before the card is touched: a mistake in the file must not cost what is on the card.
    let config = options.config.as_deref().map(node_config::read).transpose()?;
    let source = Source::open(image).map_err(failure)?;
    let mut target_disk = Target::open(&system, target).map_err(failure)?;
    if config.is_some() && !source.partitions().iter().any(|name| name == node_config::PARTITION) {
        let why = format!("has no partition {} to put --config on", node_config::PARTITION);
        return Err(Failure::input(format!("{}: {why}", image.display())));
    }
    target_disk.fits(&source).map_err(failure)?;
    if let Some(question) = question(&target_disk)
        && !options.yes
    {
        confirm(target, &question)?;
    }
    let done = fruit_flash::write(&source, &mut target_disk, progress).map_err(failure)?;
    if let Some(config) = config {
        node_config::put(target, config)?;
    }
    // Last: an ejected card takes no file.
    let ejected = target_disk.release();
    report(target, &done, ejected, as_json, progress);
    Ok(())
}

fn report(target: &Path, done: &Flashed, ejected: bool, as_json: bool, progress: &Progress) {
    if as_json {
        outln!("{:#}", json!({"target": target, "written": done.written, "ejected": ejected}));
    } else {
        let end = if ejected { "; it can be taken out" } else { "" };
        progress.say(format!("{}: {} MiB written and read back{end}", target.display(), done.written >> 20));
    }
}

/// What to ask before `target` loses what it has; nothing for a file that is not there yet.
fn question(target: &Target) -> Option<String> {
    let path = target.path().display();
    if let Some(disk) = target.device() {
        let (model, size) = (&disk.model, disk.size as f64 / 1e9);
        return Some(format!("Everything on {path} ({model}, {size:.1} GB) will be erased. Go on? [y/N] "));
    }
    target.existing_file().map(|len| format!("The file {path} ({len} bytes) will be overwritten. Go on? [y/N] "))
}

fn confirm(target: &Path, question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        let why =
            "what is there would be lost, and without a terminal nobody can be asked; to overwrite it, give --yes";
        return Err(Failure::new(Exit::Refused, format!("{}: {why}", target.display())));
    }
    fruit_output::ask(format_args!("{question}"));
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    if matches!(line.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, "nothing was written"))
}

fn list(system: &System, as_json: bool) -> Result<(), Failure> {
    let disks = fruit_flash::list(system).map_err(|error| Failure::general(error.to_string()))?;
    let rows: Vec<_> = disks
        .iter()
        .map(|disk| {
            let transport = match disk.transport {
                Transport::Usb => "usb",
                Transport::Sd => "sd",
                Transport::Other => "other",
            };
            json!({
                "path": disk.path, "size": disk.size, "model": disk.model, "transport": transport,
                "refused": disk.objection.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    if as_json {
        outln!("{:#}", json!(rows));
        return Ok(());
    }
    if disks.is_empty() {
        outln!("no removable disks");
    }
    for disk in &disks {
        let objection = disk.objection.as_ref().map_or(String::new(), |why| format!("  refused: {why}"));
        outln!("{}  {:.1} GB  {}{objection}", disk.path.display(), disk.size as f64 / 1e9, disk.model);
    }
    Ok(())
}

fn failure(error: FlashError) -> Failure {
    Failure::new(exit(&error), error.to_string())
}

fn exit(error: &FlashError) -> Exit {
    match error {
        FlashError::Unfinished { why, .. } => exit(why),
        FlashError::Refused { .. }
        | FlashError::Partition { .. }
        | FlashError::SameFile(_)
        | FlashError::TooSmall { .. } => Exit::Refused,
        FlashError::DamagedImage { .. }
        | FlashError::Incomplete { .. }
        | FlashError::BadCard { .. }
        | FlashError::OtherImage { .. } => Exit::Untrusted,
        FlashError::NotAnImage { .. } => Exit::Input,
        _ => Exit::General,
    }
}
