//! A product with releases: keys, images of several versions, a release repository, bundles. Made by the real program.

#![allow(dead_code)] // each test program uses its own part

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use super::harness::{fruitbuild, image_of, recipe_path, succeed, top};

/// Passphrase of the keys, which live as long as the test.
const PASSPHRASE: &str = "for the tests only\n";

pub struct Releases {
    folder: PathBuf,
    /// Recipe in `recipes/` that all versions extend.
    base: &'static str,
    one_at_a_time: Mutex<()>,
}

/// What makes a version different from others.
#[derive(Clone, Copy)]
pub struct Version {
    pub version: &'static str,
    /// Files to lay over the root: path, mode, content.
    pub files: &'static [(&'static str, u32, &'static str)],
    /// The recipe's `update.health`, as YAML in braces.
    pub health: &'static str,
}

impl Releases {
    /// Those that extend `base`, in a folder of that name, which is emptied first.
    pub fn of(base: &'static str, folder: &str) -> Releases {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{folder}", env!("CARGO_CRATE_NAME")));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("recipes")).unwrap();
        fs::write(folder.join("passphrase"), PASSPHRASE).unwrap();
        let releases = Releases { folder, base, one_at_a_time: Mutex::default() };
        succeed(releases.command("keys").args(["init", "--root", "1/1"]));
        releases
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// A verb that signs, with the folders and the passphrase.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = fruitbuild();
        command.current_dir(&self.folder).env("FRUITBUILD_PASSPHRASE_FILE", self.path("passphrase")).arg(verb);
        command
    }

    /// Recipe of a version.
    pub fn recipe(&self, version: &Version) -> PathBuf {
        self.path(&format!("recipes/node-{}.yaml", version.version))
    }

    /// The card image of a version.
    pub fn image(&self, version: &Version) -> PathBuf {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(|e| e.into_inner());
        let image = self.path(&format!("out/node-{}-raspberrypi3.img", version.version));
        if image.is_file() {
            return image;
        }
        // All versions have the packages that the lock of the base has.
        image_of(self.base);
        fs::copy(recipe_path(self.base).with_extension("lock"), self.recipe(version).with_extension("lock")).unwrap();
        let overlay = format!("of-{}", version.version.replace('.', "-"));
        for (path, mode, content) in version.files {
            let file = self.path(&format!("overlays/{overlay}/{path}"));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, content).unwrap();
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
        }
        fs::create_dir_all(self.path(&format!("overlays/{overlay}"))).unwrap();
        let text = format!(
            "extends: {base}\nname: node\nversion: {version}\noverlays: [{overlay}]\n\
             update:\n  root: ../releases/metadata/1.root.json\n  check: manual\n  reboot: manual\n  health: {health}\n",
            base = top().join("recipes").join(format!("{}.yaml", self.base)).display(),
            version = version.version,
            health = version.health,
        );
        fs::write(self.recipe(version), text).unwrap();
        succeed(self.command("build").arg(self.recipe(version)));
        image
    }

    /// A bundle that takes a node from one version to another.
    pub fn delta(&self, old: &Version, new: &Version) -> PathBuf {
        let (from, to) = (self.image(old), self.image(new));
        let _turn = self.one_at_a_time.lock().unwrap_or_else(|e| e.into_inner());
        let output = succeed(self.command("delta").arg("--publish").args([&from, &to]));
        self.path(String::from_utf8(output.stdout).unwrap().trim())
    }

    /// A bundle that installs a version on any node.
    pub fn full(&self, new: &Version) -> PathBuf {
        let image = self.image(new);
        let _turn = self.one_at_a_time.lock().unwrap_or_else(|e| e.into_inner());
        let output = succeed(self.command("bundle").arg("--publish").arg(&image));
        self.path(String::from_utf8(output.stdout).unwrap().trim())
    }

    /// What `with` makes of the repository while no other test publishes in it.
    pub fn at_rest<T>(&self, with: impl FnOnce(&Path) -> T) -> T {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(|e| e.into_inner());
        with(&self.repository())
    }

    /// The repository's folder.
    pub fn repository(&self) -> PathBuf {
        self.path("releases")
    }
}

/// The releases of one base, made once in a test program.
pub fn releases_of_minimal() -> &'static Releases {
    static RELEASES: OnceLock<Releases> = OnceLock::new();
    RELEASES.get_or_init(|| Releases::of("minimal", "minimal"))
}

pub fn releases_of_pistack() -> &'static Releases {
    static RELEASES: OnceLock<Releases> = OnceLock::new();
    RELEASES.get_or_init(|| Releases::of("pistack", "pistack"))
}
