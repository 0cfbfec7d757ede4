//! The recipe's `files` in the root.

use fruit_debian::PackageContents;
use fruit_image::tree::Tree;
use fruit_recipe::{At, Diagnostic, FileOwner, Recipe};
use fruit_root::files::{self, Refused, What};

use crate::error::{Error, diagnostic};

/// A file that was laid, and to whom it is to belong.
pub struct Laid<'r> {
    /// Path in the root, links followed, without leading slash.
    pub real: String,
    pub owner: &'r At<FileOwner>,
}

/// Lays the files over what is in the root.
///
/// # Errors
/// A file that would take the place of another one without the recipe's saying so, on its line.
pub fn lay<'r>(
    recipe: &'r Recipe,
    tree: &mut Tree,
    packages: &[PackageContents],
    epoch: i64,
) -> Result<Vec<Laid<'r>>, Error> {
    let mut laid = Vec::new();
    let mut laying = Laying { tree, packages, epoch, done: &mut laid };
    for (path, file) in recipe.files.iter() {
        let file = &file.0;
        let what = What::File { content: file.content.as_str().into(), mode: file.mode.bits() };
        laying.put(path.as_str().trim_start_matches('/'), what, &file.owner, file.replace, path)?;
    }
    Ok(laid)
}

/// The root that files are laid into.
pub struct Laying<'a, 'r> {
    pub tree: &'a mut Tree,
    pub packages: &'a [PackageContents],
    pub epoch: i64,
    pub done: &'a mut Vec<Laid<'r>>,
}

impl<'r> Laying<'_, 'r> {
    /// Lays one file. `named` is the line of the recipe that asks for it.
    ///
    /// # Errors
    /// A file that would take the place of another one without the recipe's saying so, on its line.
    pub fn put<T>(
        &mut self,
        path: &str,
        what: What,
        owner: &'r At<FileOwner>,
        replace: bool,
        named: &At<T>,
    ) -> Result<(), Error> {
        // Of two paths that are one by a link, the second is not what `replace` means.
        let may = |real: &str| replace && !self.done.iter().any(|other| other.real == real);
        let outcome = match files::lay(self.tree, path, what.clone(), false, self.epoch) {
            Err(Refused::Taken(real)) if may(&real) => files::lay(self.tree, path, what, true, self.epoch),
            outcome => outcome,
        };
        match outcome {
            Ok(real) => {
                self.done.push(Laid { real, owner });
                Ok(())
            }
            Err(refused) => {
                let made = Diagnostic::error(refused.to_string()).maybe_place(named.place.clone());
                Err(told(&refused, made, self.packages))
            }
        }
    }
}

/// A refusal with whose file is in the way and what to do about it.
fn told(refused: &Refused, made: Diagnostic, packages: &[PackageContents]) -> Error {
    let Refused::Taken(real) = refused else { return diagnostic(made) };
    let owner = packages.iter().find(|package| package.paths.binary_search(real).is_ok());
    let whose = match owner {
        Some(package) => format!("it is a file of the package {}", package.name),
        None => "an overlay, another entry of the recipe or fruitbuild itself puts it there".to_owned(),
    };
    diagnostic(made.note(whose).help("to put this one in its place, write `replace: true`"))
}

/// Gives the files to their owners, once all accounts are there.
///
/// # Errors
/// An account that the image does not have, on its line.
pub fn own(tree: &mut Tree, laid: &[Laid]) -> Result<(), Error> {
    for file in laid {
        let (user, group) = file.owner.parts();
        files::own(tree, &file.real, user, group, "files").map_err(|error| unknown_owner(error, file.owner))?;
    }
    Ok(())
}

/// An account that the image does not have, on the line that names it.
pub fn unknown_owner(error: fruit_root::Error, owner: &At<FileOwner>) -> Error {
    match error {
        fruit_root::Error::UnknownAccount { kind, name, candidates, .. } => {
            let mut made =
                Diagnostic::error(format!("this image has no {kind} `{name}`")).maybe_place(owner.place.clone());
            if let Some(best) = candidates.first() {
                let (user, group) = owner.parts();
                let meant = if kind == "user" { format!("{best}:{group}") } else { format!("{user}:{best}") };
                made = made.did_you_mean(meant);
            }
            diagnostic(made)
        }
        other => other.into(),
    }
}
