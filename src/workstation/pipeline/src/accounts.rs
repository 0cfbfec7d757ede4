//! The recipe's groups and users in the root.

use fruit_image::tree::Tree;
use fruit_recipe::{Diagnostic, Recipe};
use fruit_root::finish::users::{self, GroupSpec, UserSpec};

use crate::error::{Error, diagnostic};

/// Adds them.
///
/// # Errors
/// An id that is taken, a group that does not exist, on the recipe's line.
pub fn add(recipe: &Recipe, tree: &mut Tree, epoch: i64) -> Result<(), Error> {
    users::add(tree, &groups(recipe), &specs(recipe), epoch).map_err(|error| match &error {
        fruit_root::Error::UnknownAccount { kind: "group", name, candidates, .. } => {
            let mut written = recipe.users.iter().flat_map(|(_, user)| user.group.iter().chain(&user.groups));
            let Some(at) = written.find(|group| group.as_str() == name) else { return error.into() };
            let made = Diagnostic::at(at, format!("this image has no group `{name}`"), candidates);
            diagnostic(made.help(format!("to add it, write `groups: {{{name}: {{}}}}`")))
        }
        fruit_root::Error::IdTaken { id, holder, name, kind, .. } => {
            let of_user = recipe.users.iter().find(|(user, _)| user.as_str() == name);
            let of_group = recipe.groups.iter().find(|(group, _)| group.as_str() == name);
            let place = match *kind {
                "group" => of_group.and_then(|(_, group)| group.gid.as_ref()).and_then(|gid| gid.place.clone()),
                _ => of_user.and_then(|(_, user)| user.uid.as_ref()).and_then(|uid| uid.place.clone()),
            };
            let made = Diagnostic::error(format!("the {kind} `{holder}` has the number {id} already"));
            diagnostic(made.maybe_place(place).help(format!("choose another number for `{name}`")))
        }
        _ => error.into(),
    })
}

fn groups(recipe: &Recipe) -> Vec<GroupSpec> {
    let gid = |group: &fruit_recipe::Group| group.gid.as_ref().and_then(|gid| u32::try_from(gid.get()).ok());
    recipe.groups.iter().map(|(name, group)| GroupSpec { name: name.as_str().to_owned(), gid: gid(group) }).collect()
}

fn specs(recipe: &Recipe) -> Vec<UserSpec> {
    recipe
        .users
        .iter()
        .map(|(name, user)| UserSpec {
            name: name.as_str().to_owned(),
            uid: user.uid.as_ref().and_then(|uid| u32::try_from(uid.get()).ok()),
            group: user.group.as_ref().map(|group| group.as_str().to_owned()),
            groups: user.groups.iter().map(|g| g.as_str().to_owned()).collect(),
            gecos: user.full_name.as_ref().map(|name| name.value.clone()),
            home: user.home.as_ref().map(|home| home.as_str().to_owned()),
            shell: user.shell.as_ref().map(|shell| shell.as_str().to_owned()),
            password_hash: Some(user.password.shadow().to_owned()).filter(|hash| hash.starts_with('$')),
            ssh_keys: user.ssh_keys.iter().map(|key| key.as_str().to_owned()).collect(),
            sudo: false,
            system: user.system,
        })
        .collect()
}
