//! `fruitbuild init`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use fruit_recipe::{Answers, Base, BoardName, HostName, ImageName, SshKey, TimeZone};

use crate::cli;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;

/// Writes a new recipe: `fruitbuild init`.
///
/// # Errors
/// A value that no recipe may have, a file that is there already, or one that cannot be written.
pub fn init(options: &cli::Init, progress: &Progress) -> Result<(), Failure> {
    let boards = known_boards();
    let from_file = options.file.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    let name = answer(options.name.clone().or(from_file), "Name of the image", Some("node"), ImageName::new)?;
    let bases = known_bases();
    let base_question = format!("Base ({})", bases.join(", "));
    let base = answer(options.base.clone(), &base_question, Some("systemd"), |text| base_of(text, &bases))?;
    let board_question = format!("Board ({})", boards.join(", "));
    let usual = board_of(&base).unwrap_or_else(|| "raspberrypi3".to_owned());
    let board = answer(options.board.clone(), &board_question, Some(&usual), |text| {
        if !boards.iter().any(|board| board == text) {
            let near = fruit_recipe::similar(text, &boards).map_or(String::new(), |b| format!("; did you mean {b}?"));
            return Err(format!("there is no board {text}{near}"));
        }
        BoardName::new(text)
    })?;
    let hostname = answer(options.hostname.clone(), "Host name", Some("{name}-{serial:8}"), HostName::new)?;
    let ssh_keys = answer(options.ssh_key.clone(), "Public ssh key or its file (empty: none)", Some(""), ssh_keys)?;
    let timezone = TimeZone::new("UTC").map_err(Failure::general)?;
    let path = options.file.clone().unwrap_or_else(|| PathBuf::from(format!("recipes/{name}.yaml")));
    if path.exists() && !options.force {
        return Err(Failure::new(
            Exit::Refused,
            format!("{}: is there already; overwrite it with --force", path.display()),
        ));
    }
    if let Base::Recipe(base) = &base
        && path.file_stem().is_some_and(|stem| stem == base.as_str())
    {
        let message = format!("{}: would extend itself; give the new recipe another name with --name", path.display());
        return Err(Failure::input(message));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).at(folder)?;
    }
    let text = fruit_recipe::starter(&Answers { name, board, base, hostname, timezone, ssh_keys });
    std::fs::write(&path, text).at(&path)?;
    progress.say(format!("made {0}; next: fruitbuild build {0}", path.display()));
    outln!("{}", path.display());
    Ok(())
}

/// The value of the flag; else what the person at the terminal types; else the default.
fn answer<T>(
    given: Option<String>,
    question: &str,
    default: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    if let Some(text) = given {
        return read(&text).map_err(Failure::input);
    }
    if !std::io::stdin().is_terminal() {
        let text = default.ok_or_else(|| Failure::input(format!("no answer to: {question}; give it as an option")))?;
        return read(text).map_err(Failure::input);
    }
    loop {
        fruit_output::ask(format_args!(
            "{question}{}: ",
            default.filter(|d| !d.is_empty()).map_or(String::new(), |d| format!(" [{d}]"))
        ));
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line).unwrap_or(0) == 0 {
            return Err(Failure::new(Exit::Refused, "no answer"));
        }
        let text = line.trim();
        match read(if text.is_empty() { default.unwrap_or("") } else { text }) {
            Ok(value) => return Ok(value),
            Err(why) => fruit_output::talk(format_args!("{why}")),
        }
    }
}

fn ssh_keys(text: &str) -> Result<Vec<SshKey>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    // At our question no shell puts the home folder in.
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let path = match (text.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => home.join(below),
        _ => PathBuf::from(text),
    };
    let content = if path.is_file() {
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?
    } else if text.starts_with(['~', '/', '.']) {
        return Err(format!("{}: no such file", path.display()));
    } else {
        text.to_owned()
    };
    content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(SshKey::new).collect()
}

fn known_boards() -> Vec<String> {
    stems(std::iter::once(PathBuf::from("boards")).chain(fruit_pipeline::search().boards))
}

fn recipe_folders() -> impl Iterator<Item = PathBuf> {
    std::iter::once(PathBuf::from("recipes")).chain(fruit_pipeline::search().recipes)
}

/// The two that a new recipe usually builds on, then all other recipes here and of this program.
fn known_bases() -> Vec<String> {
    let others = stems(recipe_folders()).into_iter();
    let others = others.filter(|name| !matches!(name.as_str(), "base" | "base-systemd" | "minimal"));
    ["systemd".to_owned(), "minimal".to_owned()].into_iter().chain(others).collect()
}

fn base_of(text: &str, known: &[String]) -> Result<Base, String> {
    match text.strip_suffix(".yaml").unwrap_or(text) {
        "systemd" | "base-systemd" => Ok(Base::Systemd),
        "minimal" | "base" => Ok(Base::Minimal),
        name if known.iter().any(|base| base == name) => ImageName::new(name).map(Base::Recipe),
        name => {
            let near = fruit_recipe::similar(name, known).map_or(String::new(), |b| format!("; did you mean {b}?"));
            Err(format!("there is no base {name}{near} (known: {})", known.join(", ")))
        }
    }
}

/// The board of the recipe that is built on.
fn board_of(base: &Base) -> Option<String> {
    let Base::Recipe(name) = base else { return None };
    let path = recipe_folders().map(|folder| folder.join(format!("{name}.yaml"))).find(|path| path.is_file())?;
    fruit_recipe::load(&path, &fruit_pipeline::search()).ok().map(|recipe| recipe.board_name)
}

/// Names of the YAML files in `folders`.
fn stems(folders: impl Iterator<Item = PathBuf>) -> Vec<String> {
    let mut names: Vec<String> = folders
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_of_this_program_can_be_built_on_and_brings_its_board() {
        let known = known_bases();
        assert_eq!(known[..2], ["systemd", "minimal"]);
        for name in ["pistack", "raspberrypi4", "qemu-x86_64"] {
            assert!(known.iter().any(|base| base == name), "{known:?}");
            assert_eq!(base_of(name, &known), Ok(Base::Recipe(ImageName::new(name).unwrap())));
        }
        assert_eq!(base_of("base-systemd.yaml", &known), Ok(Base::Systemd));
        assert!(base_of("pistak", &known).unwrap_err().contains("did you mean pistack?"));
        let board = board_of(&base_of("raspberrypi4", &known).unwrap());
        assert_eq!(board.as_deref(), Some("raspberrypi4"));
        assert_eq!(board_of(&Base::Systemd), None);
    }
}
