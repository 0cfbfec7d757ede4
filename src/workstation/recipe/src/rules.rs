//! Rules that bind several keys together.

use std::collections::HashMap;

use crate::board::{Board, PartitionTable};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::loader::Bootloader;
use crate::recipe::{InitSystem, RecipeFile};
use crate::scripts::ScriptsMode;
use crate::source::At;

/// Checks a merged recipe.
pub(crate) fn check(recipe: &RecipeFile, board: Option<&Board>, found: &mut Diagnostics) {
    packages(recipe, found);
    lean(recipe, found);
    time_daemons(recipe, found);
    repositories(recipe, found);
    services(recipe, found);
    users(recipe, found);
    groups(recipe, found);
    sysctl(recipe, found);
    answers(recipe, found);
    for (name, download) in recipe.downloads.iter() {
        crate::downloads::check(name, download, board.map(|board| board.architecture.value), found);
    }
    containers(recipe, found);
    python(recipe, found);
    state(recipe, found);
    if let Some(board) = board
        && let Some(cap) = &recipe.root.overlay
        && let crate::size::OverlayCap::Size(size) = cap.value
        && board.qemu.iter().any(|(_, q)| q.memory.bytes() <= size.bytes())
    {
        found.push(
            Diagnostic::error("the RAM overlay may take all of the board's memory")
                .maybe_place(cap.place.clone())
                .help("leave the larger part to programs: `50%`"),
        );
    }
}

/// Reports that `second` contradicts `first`.
fn contradiction<A: AsRef<str>, B: AsRef<str>>(
    second: &At<A>,
    first: &At<B>,
    message: String,
    label: &str,
) -> Diagnostic {
    let made = Diagnostic::error(message).maybe_place(second.place.clone());
    match &first.place {
        Some(place) => made.related(place.clone(), label),
        None => made,
    }
}

fn packages(recipe: &RecipeFile, found: &mut Diagnostics) {
    for unwanted in &recipe.exclude {
        if let Some(wanted) = recipe.packages.iter().find(|p| p.value == unwanted.value) {
            let message = format!("`{unwanted}` is both in `packages` and in `exclude`");
            found.push(
                contradiction(unwanted, wanted, message, "asked for here")
                    .help("to drop an inherited package, write `packages: {remove: [NAME]}`"),
            );
        }
    }
}

/// A lean package is one that nobody asks for.
fn lean(recipe: &RecipeFile, found: &mut Diagnostics) {
    for (name, reason) in recipe.lean.iter() {
        if let Some(wanted) = recipe.packages.iter().find(|package| package.value == name.value) {
            let message = format!("`{name}` is both in `packages` and in `lean`");
            found.push(
                contradiction(name, wanted, message, "asked for here").help(format!("write `lean: {{{name}: null}}`")),
            );
        }
        if reason.trim().is_empty() {
            let made = Diagnostic::error(format!("`{name}` is lean without a reason")).maybe_place(name.place.clone());
            found.push(made.help(format!("say why nodes do without it: `{name}: nothing on them runs it`")));
        }
    }
}

/// Where Podman keeps what containers write.
const STORAGE: &str = "/var/lib/containers";

/// Rules that bind the keys of containers to others.
fn containers(recipe: &RecipeFile, found: &mut Diagnostics) {
    let Some((first, _)) = recipe.containers.iter().next() else { return };
    for (name, container) in recipe.containers.iter() {
        if container.image.is_none() && container.archive.is_none() {
            let made =
                Diagnostic::error(format!("nothing says which image `{name}` is")).maybe_place(name.place.clone());
            found.push(made.help("write `image: REGISTRY/NAME:TAG`, or `archive: FILE`"));
        }
        if container.run.is_some() && recipe.init.value != InitSystem::Systemd {
            let made = Diagnostic::error(format!("nothing starts `{name}`: this image has no systemd"));
            found.push(made.maybe_place(name.place.clone()).help("write `init: systemd`, or leave `run` out"));
        }
    }
    let kept = |path: &str| STORAGE == path || STORAGE.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    if !recipe.state.iter().any(|path| kept(path.as_str())) {
        let made = Diagnostic::error(format!(
            "what containers write has no place: Podman cannot keep {STORAGE} in the RAM overlay"
        ));
        found.push(made.maybe_place(first.place.clone()).help(format!("add it to `state`: `state: [{STORAGE}]`")));
    }
}

fn python(recipe: &RecipeFile, found: &mut Diagnostics) {
    let python = &recipe.python;
    if let (Some(index), true) = (&python.index, python.packages.is_empty()) {
        let made = Diagnostic::error("`python` names an index and no package").maybe_place(index.place.clone());
        found.push(made.help("write `packages: [NAME]`, or leave `python` out"));
    }
    let wanted = recipe.exclude.iter().find(|package| package.as_str() == "python3");
    if let (Some(excluded), Some(first)) = (wanted, python.packages.first()) {
        let message = "wheels need the package `python3`, which `exclude` keeps out".to_owned();
        found.push(contradiction(excluded, first, message, "asked for here"));
    }
}

/// Packages that set the clock: each conflicts with all others (they provide `time-daemon`).
const TIME_DAEMONS: [&str; 5] = ["systemd-timesyncd", "chrony", "ntpsec", "openntpd", "ntp"];

/// Said before the resolver says it, which cannot know where to take one out.
fn time_daemons(recipe: &RecipeFile, found: &mut Diagnostics) {
    let mut named = recipe.packages.iter().filter(|package| TIME_DAEMONS.contains(&package.as_str()));
    let Some(first) = named.next() else { return };
    for second in named.filter(|second| second.value != first.value) {
        let message = format!("`{second}` and `{first}` both set the clock, and Debian lets only one of them in");
        let unit = match first.as_str() {
            "systemd-timesyncd" => "; services: {enable: {remove: [systemd-timesyncd.service]}}",
            _ => "",
        };
        found.push(
            contradiction(second, first, message, "the other one")
                .help(format!("take one of them out: `packages: {{remove: [{first}], add: [{second}]}}`{unit}")),
        );
    }
}

/// A suite that ends with `/` is the path of a flat repository, which has neither components nor sister suites.
fn repositories(recipe: &RecipeFile, found: &mut Diagnostics) {
    let suite = &recipe.distribution.suite;
    if suite.as_str().ends_with('/') {
        found.push(
            Diagnostic::error("a distribution is no flat repository")
                .maybe_place(suite.place.clone())
                .help("name the release: `trixie`; flat repositories belong under `repositories`"),
        );
    }
    for (_, repository) in recipe.repositories.iter() {
        let written = repository.components.iter().find(|component| component.place.is_some());
        if repository.suite.as_str().ends_with('/')
            && let Some(component) = written
        {
            let message = format!("`{}` is a flat repository, which has no components", repository.suite);
            found.push(
                contradiction(component, &repository.suite, message, "a suite that ends with `/`")
                    .help("remove `components`, or name the suite as in `deb URL SUITE COMPONENT`"),
            );
        }
    }
}

fn services(recipe: &RecipeFile, found: &mut Diagnostics) {
    let services = &recipe.services;
    for masked in &services.mask {
        if let Some(enabled) = services.enable.iter().find(|u| u.value == masked.value) {
            let message = format!("`{masked}` is both enabled and masked");
            found.push(contradiction(masked, enabled, message, "enabled here"));
        }
    }
    let all = services.enable.iter().chain(&services.disable).chain(&services.mask);
    if recipe.init.value == InitSystem::Busybox
        && let Some(unit) = all.into_iter().next()
    {
        let made = Diagnostic::error("busybox init has no units").maybe_place(unit.place.clone());
        let made = made.help("start programs from the `inittab` of an overlay, or use `init: systemd`");
        found.push(match &recipe.init.place {
            Some(place) => made.related(place.clone(), "chosen here"),
            None => made,
        });
    }
}

fn users(recipe: &RecipeFile, found: &mut Diagnostics) {
    let mut uids: HashMap<u64, &At<crate::words::UserName>> = HashMap::new();
    for (name, user) in recipe.users.iter() {
        if let Some(uid) = &user.uid {
            if name.as_str() == "root" {
                found.push(Diagnostic::error("the number of `root` is always 0").maybe_place(uid.place.clone()));
            } else if let Some(first) = uids.insert(uid.get(), name) {
                let made = Diagnostic::error(format!("`{name}` and `{first}` have the same number {}", uid.get()));
                found.push(made.maybe_place(uid.place.clone()));
            }
        }
        if let Some(full_name) = &user.full_name
            && full_name.chars().any(|c| c == ':' || c == ',' || c.is_control())
        {
            found.push(
                Diagnostic::error("a full name cannot hold `:`, `,` or a line break")
                    .maybe_place(full_name.place.clone()),
            );
        }
    }
}

fn groups(recipe: &RecipeFile, found: &mut Diagnostics) {
    let mut gids: HashMap<u64, &At<crate::words::GroupName>> = HashMap::new();
    for (name, group) in recipe.groups.iter() {
        if let Some(gid) = &group.gid
            && let Some(first) = gids.insert(gid.get(), name)
        {
            let made = Diagnostic::error(format!("`{name}` and `{first}` have the same number {}", gid.get()));
            found.push(made.maybe_place(gid.place.clone()));
        }
    }
}

/// Who answers what scripts ask wants them to run.
fn answers(recipe: &RecipeFile, found: &mut Diagnostics) {
    if recipe.scripts.value == ScriptsMode::Never
        && let Some((question, _)) = recipe.debconf.iter().next()
    {
        let message = format!("`{question}` is answered, and no script asks: `scripts` is `never`");
        let made = Diagnostic::error(message).maybe_place(question.place.clone());
        let made = made.help("remove `debconf`, or write `scripts: auto`");
        found.push(match &recipe.scripts.place {
            Some(place) => made.related(place.clone(), "never run"),
            None => made,
        });
    }
}

fn sysctl(recipe: &RecipeFile, found: &mut Diagnostics) {
    let mut first: HashMap<String, &At<crate::sysctl::SysctlName>> = HashMap::new();
    for (name, _) in recipe.sysctl.iter() {
        if let Some(other) = first.insert(name.path(), name) {
            let message = format!("`{name}` and `{other}` are the same setting");
            found.push(contradiction(name, other, message, "the other one"));
        }
        if recipe.init.value == InitSystem::Busybox && name.contains('*') {
            found.push(
                Diagnostic::error("busybox takes no patterns as names of settings")
                    .maybe_place(name.place.clone())
                    .help("write each setting, or use `init: systemd`"),
            );
        }
    }
}

fn state(recipe: &RecipeFile, found: &mut Diagnostics) {
    for (at, path) in recipe.state.iter().enumerate() {
        for other in recipe.state[..at].iter().chain(&recipe.state[at + 1..]) {
            if path.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/')) {
                let message = format!("`{path}` lies in `{other}`, which is kept already");
                found.push(contradiction(path, other, message, "kept here").help("remove the inner one"));
            }
        }
    }
}

/// Checks a board.
pub(crate) fn check_board(board: &Board, found: &mut Diagnostics) {
    if board.console.is_empty() {
        found.push(
            Diagnostic::error("the board has no console")
                .maybe_place(board.bootloader.place.clone())
                .help("add `console: [ttyS0,115200]`"),
        );
    }
    match &board.bootloader.value {
        Bootloader::UBoot(u_boot) => {
            if u_boot.machines.is_empty() {
                found.push(
                    Diagnostic::error("U-Boot needs at least one of `machines`")
                        .maybe_place(board.bootloader.place.clone()),
                );
            }
            if u_boot.environment_size.is_none() && !u_boot.environment.is_empty() {
                found.push(
                    Diagnostic::error("`environment` is written nowhere without `environment_size`")
                        .maybe_place(u_boot.environment.iter().next().and_then(|(name, _)| name.place.clone())),
                );
            }
        }
        Bootloader::Tryboot(_) => {
            if board.partition_table.value == PartitionTable::HybridMbr {
                found.push(
                    Diagnostic::error(
                        "tryboot counts partitions by the GPT; a hybrid MBR would hide all but the first",
                    )
                    .maybe_place(board.partition_table.place.clone())
                    .did_you_mean("gpt"),
                );
            }
        }
    }
    for (_, machine) in board.qemu.iter() {
        if machine.bios.is_some()
            && let Some(kernel) = &machine.kernel
        {
            found.push(
                Diagnostic::error("a machine is started by `bios` or by `kernel`, not by both")
                    .maybe_place(kernel.file.place.clone()),
            );
        }
    }
}
