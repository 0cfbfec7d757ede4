//! `fruitbuild flash`

use std::io::{IsTerminal, Write};
use std::path::Path;

use fruit_image::flash::{self, FlashError, Source, Stage, System, Target, Transport};
use serde_json::json;

use crate::cli;
use crate::failure::{Exit, Failure};
use crate::progress::{Progress, Unit};
use crate::verbs::card_config;

pub fn flash(options: &cli::Flash, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let system = System::default();
    let (Some(image), Some(target), false) = (&options.image, &options.target, options.list) else {
        return list(&system, as_json);
    };
    let source = Source::open(image).map_err(failure)?;
    let mut target_disk = Target::open(&system, target).map_err(failure)?;
    if let Some(disk) = target_disk.device()
        && !options.yes
    {
        let question = format!(
            "Everything on {} ({}, {:.1} GB) will be erased. Go on? [y/N] ",
            disk.path.display(),
            disk.model,
            disk.size as f64 / 1e9
        );
        confirm(&question)?;
    }
    let write_step = progress.step("writing", source.to_write(), Unit::Bytes);
    let verify_step = progress.step("reading back", source.to_write(), Unit::Bytes);
    let done = flash::write(&source, &mut target_disk, &mut |at| {
        let step = if at.stage == Stage::Write { &write_step } else { &verify_step };
        step.set_total(at.total);
        step.set(at.done);
    })
    .map_err(failure)?;
    drop((write_step, verify_step));
    if let Some(config) = &options.config {
        drop(target_disk);
        card_config::put(target, config)?;
    }
    report(target, &done, as_json, progress);
    Ok(())
}

fn report(target: &Path, done: &flash::Flashed, as_json: bool, progress: &Progress) {
    if as_json {
        outln!("{:#}", json!({"target": target, "written": done.written, "ejected": done.ejected}));
    } else {
        let end = if done.ejected { "; it can be taken out" } else { "" };
        progress.say(format!("{}: {} MiB written and read back{end}", target.display(), done.written >> 20));
    }
}

fn confirm(question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Refused, "not asked before erasing, since there is no terminal; say --yes"));
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
    let disks = flash::list(system).map_err(|error| Failure::general(error.to_string()))?;
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
    let exit = match &error {
        FlashError::Refused { .. }
        | FlashError::Partition { .. }
        | FlashError::SameFile(_)
        | FlashError::TooSmall { .. } => Exit::Refused,
        FlashError::DamagedImage { .. } | FlashError::BadCard { .. } | FlashError::OtherImage { .. } => Exit::Untrusted,
        _ => Exit::General,
    };
    Failure::new(exit, error.to_string())
}
