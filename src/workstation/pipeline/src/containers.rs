//! The recipe's `containers`: pinned in the lock, fetched into the store, laid into the root as a store of Podman's, and run by
//! systemd where the recipe says so.

use fruit_containers::{Logins, Named, Origin, Platform, Registries, Wanted};
use fruit_contract::image_manifest;
use fruit_contract::init::READ_ONLY_ROOT;
use fruit_debian::{Lock, LockedContainer, Store};
use fruit_image::tree::{Inode, Tree};
use fruit_progress::Progress;
use fruit_recipe::{At, Container, ContainerName, Diagnostic, Recipe, RunContainer};

use crate::device_files::put;
use crate::error::{Error, diagnostic};
use crate::sources::{self, Bars};

/// Where the store is in the root.
const STORE: &str = "usr/lib/containers/storage";
/// Podman's settings of its storage (containers-storage.conf(5)).
const SETTINGS: &str = "etc/containers/storage.conf";
/// Where Podman looks for containers that systemd is to run (podman-systemd.unit(5)).
const QUADLETS: &str = "etc/containers/systemd";
/// Makes units of them; since Podman 4.4.
const GENERATORS: [&str; 2] = [
    "usr/lib/systemd/system-generators/podman-system-generator",
    "lib/systemd/system-generators/podman-system-generator",
];

/// What a recipe names, in the order of names.
fn wanted(recipe: &Recipe) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = recipe
        .containers
        .iter()
        .filter_map(|(name, container)| {
            let image = container.image.as_ref().map(|image| image.as_str().to_owned());
            let origin = match (&container.archive, &container.image) {
                (Some(archive), _) => Origin::Archive { path: archive.resolve(&archive.value), image: image.clone() },
                (None, Some(reference)) => {
                    let (registry, repository, tag, digest) = reference.parts();
                    Origin::Registry { registry, repository, tag, digest }
                }
                (None, None) => return None,
            };
            let archive = container.archive.as_ref().map(|archive| archive.value.clone());
            Some(Wanted { name: name.as_str().to_owned(), image, archive, origin })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Whether a lock has exactly the images that the recipe names.
pub fn answered(recipe: &Recipe, lock: &Lock) -> bool {
    let wanted = wanted(recipe);
    let same = |(wanted, locked): (&Wanted, &LockedContainer)| {
        wanted.name == locked.name && wanted.image == locked.image && wanted.archive == locked.archive
    };
    wanted.len() == lock.containers.len() && wanted.iter().zip(&lock.containers).all(same)
}

fn registries() -> Result<Registries, Error> {
    Ok(Registries { addresses: sources::registries()?, logins: Logins::of_user() })
}

fn platform(recipe: &Recipe) -> Result<Platform, Error> {
    let architecture = recipe.board.architecture.to_string();
    Platform::of_debian(&architecture)
        .ok_or_else(|| Error::input(format!("containers: there are no images for the architecture {architecture}")))
}

/// Pins the images that the recipe names. Those of registries that `kept` answers stay as they are.
///
/// # Errors
/// An image that cannot be had, on its line.
pub fn pin(
    recipe: &Recipe,
    kept: &[LockedContainer],
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<LockedContainer>, Error> {
    if recipe.containers.is_empty() {
        return Ok(Vec::new());
    }
    let (platform, registries, bars) = (platform(recipe)?, registries()?, Bars::new(progress));
    let mut pinned = Vec::new();
    for one in wanted(recipe) {
        let made = fruit_containers::pin(std::slice::from_ref(&one), kept, platform, store, &registries, &bars);
        pinned.extend(made.map_err(|error| told(recipe, &one.name, error))?);
    }
    Ok(pinned)
}

/// Fetches what the store lacks.
///
/// # Errors
/// A transfer that failed for good; offline, a file that is not in the store.
pub fn ensure(recipe: &Recipe, lock: &Lock, store: &Store, progress: &dyn Progress) -> Result<(), Error> {
    if lock.containers.is_empty() {
        return Ok(());
    }
    let bars = Bars::new(progress);
    Ok(fruit_containers::ensure(&wanted(recipe), &lock.containers, store, &registries()?, &bars)?)
}

/// What is wrong with an image, on its line. What is wrong with the network or the disk is no mistake of the recipe.
fn told(recipe: &Recipe, name: &str, error: fruit_containers::Error) -> Error {
    match error {
        fruit_containers::Error::Store(_) => error.into(),
        _ => {
            let found = recipe.containers.iter().find(|(one, _)| one.as_str() == name);
            let place = found.and_then(|(name, container)| {
                let image = container.image.as_ref().and_then(|image| image.place.clone());
                let archive = container.archive.as_ref().and_then(|archive| archive.place.clone());
                archive.or(image).or_else(|| name.place.clone())
            });
            diagnostic(Diagnostic::error(error.to_string()).maybe_place(place))
        }
    }
}

/// What Podman calls the image of an entry.
fn name_of(name: &ContainerName, container: &Container, locked: &LockedContainer) -> String {
    let Some(image) = &container.image else { return format!("localhost/{name}:latest") };
    let (registry, repository, tag, _) = image.parts();
    match tag {
        Some(tag) => format!("{registry}/{repository}:{tag}"),
        None => format!("{registry}/{repository}@sha256:{}", locked.manifest.sha256),
    }
}

fn entry<'r>(recipe: &'r Recipe, locked: &LockedContainer) -> Option<(&'r At<ContainerName>, &'r Container)> {
    recipe.containers.iter().find(|(name, _)| name.as_str() == locked.name)
}

/// Writes Podman's settings and what systemd runs.
///
/// # Errors
/// An image without Podman, or with settings of its own that do not name the store.
pub fn settings(recipe: &Recipe, lock: &Lock, tree: &mut Tree, epoch: i64) -> Result<(), Error> {
    let Some((first, _)) = recipe.containers.iter().next() else { return Ok(()) };
    let has = |path: &str| tree.resolve(path).is_ok_and(|real| tree.contains(&real));
    if !has("usr/bin/podman") {
        let made = Diagnostic::error("nothing in this image runs containers: it has no Podman");
        let mut made = made.maybe_place(first.place.clone()).help("add `podman`, `crun` and `netavark` to `packages`");
        if has("usr/bin/docker") || has("usr/sbin/dockerd") || has("usr/bin/containerd") {
            made = made.note(
                "images are baked into Podman's storage only: Docker and containerd have none that can be read-only",
            );
        }
        return Err(diagnostic(made));
    }
    let store = format!("{READ_ONLY_ROOT}/{STORE}");
    if has(SETTINGS) {
        let text = tree.read(SETTINGS).unwrap_or_default();
        if !String::from_utf8_lossy(&text).contains(&store) {
            let made =
                Diagnostic::error(format!("/{SETTINGS} of this image does not name the store of its containers"));
            let help = format!("add \"{store}\" to `additionalimagestores` below `[storage.options]`");
            return Err(diagnostic(made.maybe_place(first.place.clone()).help(help)));
        }
    } else {
        let text = format!(
            "# Written by fruitbuild: the images of the recipe's `containers` are in the read-only root.\n\
             [storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
             graphroot = \"/var/lib/containers/storage\"\n\n\
             [storage.options]\nadditionalimagestores = [\"{store}\"]\n"
        );
        put(tree, SETTINGS, Inode::file(text.as_str(), 0o644, epoch), epoch)?;
    }
    for locked in &lock.containers {
        let Some((name, container)) = entry(recipe, locked) else { continue };
        let Some(run) = &container.run else { continue };
        can_run(name, tree)?;
        let text = quadlet(name, &name_of(name, container, locked), run);
        put(tree, &format!("{QUADLETS}/{name}.container"), Inode::file(text.as_str(), 0o644, epoch), epoch)?;
    }
    Ok(())
}

/// That systemd will run a container under its name, and nothing else has this name.
fn can_run(name: &At<ContainerName>, tree: &Tree) -> Result<(), Error> {
    let has = |path: &str| tree.resolve(path).is_ok_and(|real| tree.contains(&real));
    let wrong = |message: String, help: &str| {
        Err(diagnostic(Diagnostic::error(message).maybe_place(name.place.clone()).help(help)))
    };
    if !GENERATORS.iter().any(|path| has(path)) {
        return wrong(
            format!("nothing starts `{name}`: the Podman of this image makes no units of containers"),
            "take one of 4.4 or later, or leave `run` out and start it by a unit of your own",
        );
    }
    let folders = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
    if folders.iter().any(|folder| has(&format!("{folder}/{name}.service"))) {
        return wrong(format!("there is a service `{name}.service` in this image already"), "choose another name");
    }
    if has(&format!("{QUADLETS}/{name}.container")) {
        return wrong(
            format!("/{QUADLETS}/{name}.container is there already"),
            "leave `run` out, or choose another name",
        );
    }
    Ok(())
}

/// A container as systemd is to run it.
fn quadlet(name: &ContainerName, image: &str, run: &RunContainer) -> String {
    let mut text = format!(
        "# Written by fruitbuild from the recipe's `containers`.\n[Unit]\nDescription=Container {name}\n\n\
         [Container]\nImage={image}\nContainerName={name}\nPull=never\n"
    );
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key}={value}\n"));
    if let Some(network) = &run.network {
        line("Network", &plain(network));
    }
    run.publish.iter().for_each(|ports| line("PublishPort", &plain(ports)));
    run.volumes.iter().for_each(|volume| line("Volume", &plain(volume)));
    run.devices.iter().for_each(|device| line("AddDevice", &plain(device)));
    for (key, value) in run.environment.iter() {
        line("Environment", &word(&format!("{key}={}", value.as_str())));
    }
    if !run.command.is_empty() {
        let words: Vec<String> = run.command.iter().map(|one| word(one)).collect();
        line("Exec", &words.join(" "));
    }
    text.push_str("\n[Service]\nRestart=always\n\n[Install]\nWantedBy=multi-user.target\n");
    text
}

/// A value without spaces or quotes, in which systemd would only see its specifiers.
fn plain(text: &str) -> String {
    text.replace('%', "%%")
}

/// A word as systemd takes it apart (systemd.syntax(7), "Quoting"). What it becomes is a command line of systemd's, in which a dollar
/// sign stands for a variable (systemd.service(5)).
fn word(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\t' => quoted.push_str("\\t"),
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Lays the images into the root. Nothing else looks at them: what is in them is none of the node's own.
///
/// # Errors
/// A layer that is damaged, hostile, or not the one that its image names.
pub fn lay(
    recipe: &Recipe,
    lock: &Lock,
    store: &Store,
    tree: &mut Tree,
    epoch: i64,
) -> Result<Vec<image_manifest::Container>, Error> {
    if lock.containers.is_empty() {
        return Ok(Vec::new());
    }
    let named: Vec<Named<'_>> = lock
        .containers
        .iter()
        .filter_map(|locked| {
            let (name, container) = entry(recipe, locked)?;
            Some(Named { locked, name: name_of(name, container, locked) })
        })
        .collect();
    let laid = fruit_containers::lay(&named, platform(recipe)?, store, (tree, STORE), epoch)?;
    let digest = |sha256: fruit_debian::Sha256| format!("sha256:{sha256}");
    Ok(named
        .iter()
        .zip(laid)
        .map(|(named, laid)| image_manifest::Container {
            name: named.locked.name.clone(),
            image: named.name.clone(),
            digest: digest(named.locked.manifest.sha256),
            id: digest(laid.id),
            layers: named.locked.layers.iter().map(|layer| digest(layer.sha256)).collect(),
            size: laid.size,
            runs: entry(recipe, named.locked).is_some_and(|(_, container)| container.run.is_some()),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_container_as_they_are_written() {
        assert_eq!(word(r#"a "b" \c"#), r#""a \"b\" \\c""#);
        assert_eq!(word("100% of $HOME\t"), r#""100%% of $$HOME\t""#);
    }
}
