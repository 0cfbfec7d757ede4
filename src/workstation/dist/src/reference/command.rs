//! A command line as Markdown.

use clap::{Arg, Command};

/// Stands first in each page.
pub const NOTICE: &str =
    "<!-- Made by `cargo run -p fruit-dist -- reference` from the programs' own definitions. Do not edit. -->\n\n";

/// The page of a program with all its verbs.
pub fn page(mut command: Command) -> String {
    command.build();
    let mut text = NOTICE.to_owned();
    section(&mut text, &command, &[], 1);
    text
}

fn section(text: &mut String, command: &Command, above: &[String], level: usize) {
    let mut path = above.to_vec();
    path.push(command.get_name().to_owned());
    text.push_str(&format!("{} {}\n\n", "#".repeat(level.min(4)), path.join(" ")));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        text.push_str(&format!("{}\n\n", escaped(&about.to_string())));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    text.push_str(&format!("```text\n{usage}\n```\n\n"));
    // Global options stand at the top only.
    let shown = |arg: &&Arg| !arg.is_hide_set() && (above.is_empty() || !arg.is_global_set());
    let arguments: Vec<&Arg> = command.get_arguments().filter(shown).filter(|a| !is_builtin(a)).collect();
    if !arguments.is_empty() {
        text.push_str("| argument | meaning |\n|---|---|\n");
        for argument in arguments {
            text.push_str(&format!("| {} | {} |\n", name(argument), meaning(argument)));
        }
        text.push('\n');
    }
    if let Some(after) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        text.push_str(&format!("```text\n{}\n```\n\n", after.to_string().trim_end()));
    }
    for verb in command.get_subcommands().filter(|v| !v.is_hide_set() && v.get_name() != "help") {
        section(text, verb, &path, level + 1);
    }
}

fn is_builtin(argument: &Arg) -> bool {
    matches!(argument.get_id().as_str(), "help" | "version")
}

fn name(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let takes = argument.get_action().takes_values();
    let value = values.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(" ");
    let mut forms = Vec::new();
    forms.extend(argument.get_short().map(|short| format!("-{short}")));
    forms.extend(argument.get_long().map(|long| format!("--{long}")));
    let name = match (forms.is_empty(), takes && !value.is_empty()) {
        (true, _) => value,
        (false, true) => format!("{} {value}", forms.join(", ")),
        (false, false) => forms.join(", "),
    };
    format!("`{}`", name.replace('|', "\\|"))
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = escaped(&help).replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|");
    let listed = argument.get_possible_values();
    let choices: Vec<&str> = listed.iter().filter(|v| !v.is_hide_set()).map(|v| v.get_name()).collect();
    if !choices.is_empty() && argument.get_action().takes_values() && choices != ["true", "false"] {
        text.push_str(&format!(" One of `{}`.", choices.join("`, `")));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        // Help has no full stop at its end where it is one line, as usual in terminals.
        if !text.is_empty() && !text.ends_with(['.', ']']) {
            text.push('.');
        }
        text.push_str(&format!(" Default: `{}`.", defaults.join(" ")));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('>', "&gt;")
}
