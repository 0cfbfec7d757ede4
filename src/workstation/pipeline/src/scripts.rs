//! Packages' maintainer scripts: read where that suffices, else run, and what the image gets of them.

use std::collections::BTreeSet;

use fruit_contract::image_manifest;
use fruit_debian::{Lock, LockedPackage, LockedTwin, Mirrors, PackageContents, Repository, Store, Universe};
use fruit_image::tree::Tree;
use fruit_progress::{Progress, Unit};
use fruit_recipe::{At, DebconfAnswer, DebconfQuestion, Diagnostic, Diagnostics, Recipe, ScriptsMode};
use fruit_root::account::{self, Unhandled};
use fruit_root::finish::units;
use fruit_root::glob::Glob;
use fruit_twin::{Answer, Layer, Limits, Run, Sandbox, Templates};

use crate::error::Error;
use crate::{check, lock, read_scripts, sources};

/// What becomes of the scripts of an image.
pub struct Scripts {
    /// Commands whose effect the image lacks.
    pub unhandled: Vec<Unhandled>,
    /// What they did, when they ran.
    pub ran: Option<Ran>,
}

/// Scripts that ran.
pub struct Ran {
    layer: Layer,
    /// Architecture that they ran on.
    on: String,
    report: image_manifest::ScriptsRun,
}

/// Why scripts must run.
enum Why {
    Asked,
    Answered,
    Undecided(Vec<String>),
}

/// Where packages come from.
#[derive(Clone, Copy)]
pub struct Fetching<'a> {
    pub store: &'a Store,
    pub mirrors: &'a Mirrors,
    /// The lock must do as it is.
    pub locked: bool,
}

/// What the recipe's scripts come to, for `packages`, which are unpacked. When scripts must run and the lock does not say over which
/// packages, it is written anew.
///
/// # Errors
/// A script that fails, asks or hangs; packages that cannot be had; no sandbox; keys that scripts left.
pub fn obtain(
    checked: &check::Checked,
    lock: &mut Lock,
    packages: &[PackageContents],
    from: Fetching<'_>,
    epoch: i64,
    progress: &dyn Progress,
) -> Result<Scripts, Error> {
    let recipe = &checked.recipe;
    let answers = answers(recipe, packages)?;
    let acknowledged: BTreeSet<&str> = recipe.acknowledge.iter().map(|p| p.as_str()).collect();
    let mut unhandled = account::unhandled(&read_scripts::package_scripts(packages));
    unhandled.retain(|u| !acknowledged.contains(u.package.as_str()));
    let never_run = |package: &str| fruit_twin::is_taken_for_configured(package);
    let undecided: BTreeSet<&str> = unhandled.iter().map(|u| u.package.as_str()).filter(|p| !never_run(p)).collect();
    let why = match recipe.scripts.value {
        ScriptsMode::Never => return Ok(Scripts { unhandled, ran: None }),
        ScriptsMode::Always => Why::Asked,
        ScriptsMode::Auto if !answers.is_empty() => Why::Answered,
        ScriptsMode::Auto if undecided.is_empty() => return Ok(Scripts { unhandled, ran: None }),
        ScriptsMode::Auto => Why::Undecided(undecided.into_iter().map(str::to_owned).collect()),
    };
    progress.say(&why.told(packages.len()));
    let twin = twin(checked, lock, from, progress)?;
    from.store.ensure(&twin.packages, from.mirrors, &sources::Bars::new(progress))?;
    let ran = run(recipe, lock, packages, &twin, &answers, from.store, (epoch, progress))?;
    let undecided = if let Why::Undecided(names) = why { names } else { Vec::new() };
    let report = image_manifest::ScriptsRun { undecided, ..ran.report };
    unhandled.retain(|u| never_run(&u.package) || twin.configured.contains(&u.package));
    Ok(Scripts { unhandled, ran: Some(Ran { report, ..ran }) })
}

impl Why {
    fn told(&self, packages: usize) -> String {
        let because = match self {
            Why::Asked => "the recipe says so".to_owned(),
            Why::Answered => "the recipe answers their questions".to_owned(),
            Why::Undecided(names) => {
                let shown: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
                let more = names.len() - shown.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("fruitbuild cannot tell what those of {}{more} do", shown.join(", "))
            }
        };
        format!("the scripts of {packages} packages run: {because}")
    }
}

/// The recipe's answers, if packages ask for them.
fn answers(recipe: &Recipe, packages: &[PackageContents]) -> Result<Vec<Answer>, Error> {
    if recipe.debconf.is_empty() {
        return Ok(Vec::new());
    }
    let templates = Templates::of(packages);
    let mut found = Diagnostics::new();
    let mut all = Vec::new();
    for (question, answer) in recipe.debconf.iter() {
        match templates.check(question.as_str(), answer.as_str()) {
            Ok(checked) => all.push(checked),
            Err(flaw) => found.push(wrong_answer(question, answer, &flaw)),
        }
    }
    if found.has_errors() { Err(found.into()) } else { Ok(all) }
}

fn wrong_answer(question: &At<DebconfQuestion>, answer: &At<DebconfAnswer>, flaw: &fruit_twin::Flaw) -> Diagnostic {
    if !flaw.of_question {
        return Diagnostic::at(answer, &flaw.message, &flaw.candidates);
    }
    let package = question.as_str().split('/').next().unwrap_or_default();
    let of_package: Vec<&str> =
        flaw.candidates.iter().filter(|c| c.split('/').next() == Some(package)).map(String::as_str).take(12).collect();
    let made = Diagnostic::at(question, &flaw.message, &flaw.candidates);
    if of_package.is_empty() { made } else { made.note(format!("it asks: {}", of_package.join(", "))) }
}

/// The twin of the lock's packages on this machine: the locked one, or else a new one, which is locked.
fn twin(
    checked: &check::Checked,
    lock: &mut Lock,
    from: Fetching<'_>,
    progress: &dyn Progress,
) -> Result<LockedTwin, Error> {
    let host = fruit_twin::of_workstation()?;
    let installed: Vec<&LockedPackage> = lock.packages.iter().filter(|p| lock::is_installed(p)).collect();
    if let Some(twin) = lock.twin(host)
        && fruit_twin::packages(&installed, twin).is_ok()
    {
        return Ok(twin.clone());
    }
    let path = lock::path(&checked.recipe.path);
    if from.locked {
        return Err(Error::input(format!(
            "{}: scripts must run, and the lock does not say over which packages for {host}; build once without --locked on such a machine",
            path.display()
        )));
    }
    let twin = resolve(&checked.recipe, &installed, host, from, progress)?;
    lock.twins.retain(|other| other.architecture != host);
    lock.twins.push(twin.clone());
    lock.twins.sort_by(|a, b| a.architecture.cmp(&b.architecture));
    lock.write(&path)?;
    Ok(twin)
}

/// Finds the twin among what the repositories offer for this machine.
fn resolve(
    recipe: &Recipe,
    installed: &[&LockedPackage],
    host: &str,
    from: Fetching<'_>,
    progress: &dyn Progress,
) -> Result<LockedTwin, Error> {
    let repositories: Vec<Repository> = sources::repositories_for(recipe, host)?;
    let bars = sources::Bars::new(progress);
    let universe = Universe::load(&repositories, host, from.store, from.mirrors, fruit_base::now(), &bars)?;
    Ok(fruit_twin::resolve(installed, &universe, from.store, from.mirrors, &bars)?)
}

/// Locks the twin anew where the lock before had one, or where the recipe always runs scripts.
///
/// # Errors
/// As [`obtain`], as far as packages are concerned.
pub fn lock_twin(
    recipe: &Recipe,
    old: Option<&Lock>,
    new: &mut Lock,
    from: Fetching<'_>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let had = old.is_some_and(|old| !old.twins.is_empty()) && recipe.scripts.value != ScriptsMode::Never;
    if had || recipe.scripts.value == ScriptsMode::Always {
        let host = fruit_twin::of_workstation()?;
        let installed: Vec<&LockedPackage> = new.packages.iter().filter(|p| lock::is_installed(p)).collect();
        let twin = resolve(recipe, &installed, host, from, progress)?;
        new.twins = vec![twin];
    }
    Ok(())
}

fn run(
    recipe: &Recipe,
    lock: &Lock,
    packages: &[PackageContents],
    twin: &LockedTwin,
    answers: &[Answer],
    store: &Store,
    (epoch, progress): (i64, &dyn Progress),
) -> Result<Ran, Error> {
    let installed: Vec<&LockedPackage> = lock.packages.iter().filter(|p| lock::is_installed(p)).collect();
    let run = Run {
        installed: &installed,
        image: packages,
        twin,
        architecture: &lock.architecture,
        answers,
        epoch,
        limits: Limits::default(),
        diversions: &|controls| read_scripts::diverted(controls),
    };
    let _step = progress.step("running scripts", 1, Unit::Pieces);
    let sandbox = || -> Result<Sandbox, fruit_twin::Error> {
        let sandbox = Sandbox::probe()?;
        progress.detail(&format!("  on {} in a {sandbox}", twin.architecture));
        Ok(sandbox)
    };
    let made = run.layer(store, &sandbox, &sources::Bars::new(progress))?;
    let report = made.layer.report();
    match made.took {
        Some(took) => {
            progress.say(&format!("the scripts changed {} paths in {:.1} s", made.layer.len(), took.as_secs_f64()));
        }
        None => progress.detail(&format!("  they had run before: {} paths", made.layer.len())),
    }
    for name in &twin.configured {
        progress.detail(&format!("  not run: {name}, which is taken for configured"));
    }
    secrets(recipe, &report.secrets)?;
    let told = image_manifest::ScriptsRun {
        architecture: twin.architecture.clone(),
        layer: made.sha256.clone(),
        changes: made.layer.len() as u64,
        undecided: Vec::new(),
        taken_for_configured: twin.configured.clone(),
        left_out: report.left_out.clone(),
        made_on_node: report.makers.iter().map(|maker| maker.what.clone()).collect(),
    };
    Ok(Ran { on: twin.architecture.clone(), layer: made.layer, report: told })
}

/// Keys that scripts left must be left out by the recipe.
fn secrets(recipe: &Recipe, secrets: &[fruit_twin::Secret]) -> Result<(), Error> {
    let patterns = recipe.prune.remove.iter().filter_map(|glob| Glob::new(glob.as_str()).ok());
    let patterns: Vec<Glob> = patterns.collect();
    let left: Vec<_> = secrets.iter().filter(|s| !patterns.iter().any(|glob| glob.covers(&s.path))).collect();
    let Some(first) = left.first() else { return Ok(()) };
    let list: String = left.iter().map(|secret| format!("\n  /{}: {}", secret.path, secret.what)).collect();
    Err(Error::input(format!(
        "scripts of packages made what every node needs for itself, and an image would give the same to all:{list}\nleave it out with `prune: {{remove: [/{}]}}`, and have it made on the node, by a unit of an overlay",
        first.path
    )))
}

impl Ran {
    /// Makes `tree`, in which the packages are unpacked, what the scripts would have left; gives units that they enabled, each
    /// with the package that has it.
    ///
    /// # Errors
    /// A layer that does not fit the packages.
    pub(crate) fn lay(
        &self,
        tree: &mut Tree,
        architecture: &str,
        packages: &[PackageContents],
        epoch: i64,
    ) -> Result<Laid, Error> {
        let refused = self.layer.lay(tree, &self.on, architecture, epoch)?;
        let by = |path: &String| {
            let owner = packages.iter().find(|p| p.paths.binary_search(path).is_ok());
            owner.map_or_else(|| "a package's script".to_owned(), |package| package.name.clone())
        };
        let enabled = units::linked(tree).into_iter().map(|(unit, path)| (unit, by(&path))).collect();
        let data = data_folders(tree, &self.layer.report().state);
        let data = data.into_iter().map(|path| Data { by: by(&path), path: format!("/{path}") }).collect();
        Ok(Laid { enabled, refused, data })
    }

    /// For the manifest.
    pub(crate) fn report(&self) -> image_manifest::ScriptsRun {
        self.report.clone()
    }

    /// What a build warns of.
    pub(crate) fn warnings(&self, recipe: &Recipe, laid: &Laid) -> Vec<String> {
        let report = self.layer.report();
        let mut all = Vec::new();
        for path in report.foreign.iter().chain(&laid.refused) {
            all.push(format!("/{path}: a script made it of this machine's architecture, so the image has it not"));
        }
        let kept = |path: &str| {
            recipe.state.iter().any(|state| {
                path.strip_prefix(state.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let mut told = BTreeSet::new();
        for maker in &report.makers {
            if let Some(state) = maker.state.as_deref().filter(|state| !kept(state))
                && told.insert(state)
            {
                all.push(format!(
                    "{} is made anew at each boot, and what is written there is lost: add `{state}` under `state:`",
                    maker.what
                ));
            }
        }
        let acknowledged: BTreeSet<&str> = recipe.acknowledge.iter().map(|p| p.as_str()).collect();
        for data in &laid.data {
            let silent = acknowledged.contains(data.by.as_str()) || told.contains(data.path.as_str());
            if !silent && !kept(&data.path) {
                all.push(data.warning());
            }
        }
        all
    }
}

/// A folder for what a service writes.
struct Data {
    /// Absolute.
    path: String,
    /// The package that has it.
    by: String,
}

impl Data {
    fn warning(&self) -> String {
        let Data { path, by } = self;
        format!(
            "{by}: what is written to {path} is lost at each boot: add `{path}` under `state:`, or the package under `acknowledge:` where nothing there need be kept"
        )
    }
}

/// Folders in which scripts note what they did, and nothing else is.
const NOTES: [&str; 4] = ["var/lib/apache2", "var/lib/php", "var/lib/python", "var/lib/systemd"];

/// Folders below /var/lib that belong to an account of a service, or in which scripts left files (`written`, absolute).
fn data_folders(tree: &Tree, written: &[String]) -> Vec<String> {
    let folders = tree.below("var/lib").filter(|(path, _, inode)| {
        let is_direct = path.strip_prefix("var/lib/").is_some_and(|name| !name.is_empty() && !name.contains('/'));
        let is_written = || written.iter().any(|folder| folder.trim_start_matches('/') == *path);
        is_direct && inode.is_dir() && !NOTES.contains(path) && (inode.meta.uid != 0 || is_written())
    });
    folders.map(|(path, ..)| path.to_owned()).collect()
}

/// What a layer left in the tree.
#[derive(Default)]
pub(crate) struct Laid {
    /// Units that start at boot, and who enabled each.
    pub enabled: Vec<(String, String)>,
    /// Paths that could not be laid.
    pub refused: Vec<String>,
    /// Where services keep what they write.
    data: Vec<Data>,
}

impl From<fruit_twin::Error> for Error {
    fn from(error: fruit_twin::Error) -> Error {
        Error::input(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use fruit_image::tree::Inode;

    use super::*;

    #[test]
    fn folders_of_services_and_folders_that_scripts_filled_hold_data() {
        let mut tree = Tree::new(0);
        for (path, uid) in [("redis", 900), ("dpkg", 0), ("samba", 0), ("samba/private", 900), ("systemd", 0)] {
            tree.make_dirs("var/lib", 0o755, 0).unwrap();
            let mut folder = Inode::dir(0o755, 0);
            folder.meta.uid = uid;
            tree.insert(&format!("var/lib/{path}"), folder).unwrap();
        }
        let written = ["/var/lib/samba", "/var/lib/systemd"].map(str::to_owned);
        assert_eq!(data_folders(&tree, &written), ["var/lib/redis", "var/lib/samba"]);
        let data = Data { path: "/var/lib/redis".to_owned(), by: "redis-server".to_owned() };
        let warning = data.warning();
        assert!(
            warning.starts_with("redis-server: ") && warning.contains("`/var/lib/redis` under `state:`"),
            "{warning}"
        );
    }
}
