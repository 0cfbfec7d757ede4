//! What a recipe file may say.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::containers::{Container, ContainerName};
use crate::declare::{keyword, mapping};
use crate::decode::{Decode, Named, Whole, wrong_type};
use crate::diagnostic::Diagnostics;
use crate::downloads::{Download, DownloadName};
use crate::files::{File, FilePath};
use crate::login::{HostName, Password, SshKey};
use crate::node::{Kind, Node};
use crate::python::Python;
use crate::scripts::{DebconfAnswer, DebconfQuestion, ScriptsMode};
use crate::section::Section;
use crate::size::{OverlayCap, PartitionSize};
use crate::source::At;
use crate::sysctl::{SysctlName, SysctlValue};
use crate::variables::{RecipeVariable, VariableName};
use crate::words::{
    BoardName, Component, DevicePath, Glob, GroupName, ImageName, ImageVersion, KernelWord, Language, Locale,
    ModuleName, ModuleSet, OverlayName, PackageName, StatePath, Suite, TimeZone, UnitName, Url, UserName,
};

mapping! {
    /// A recipe: which Debian packages and files become an image, and how it behaves on the device.
    "a recipe"
    pub struct RecipeFile {
        /// Name of the image. Files in `out/` and the disk's identity are made from it; keep it across versions, for a card
        /// that is updated in place must keep its identity.
        name: At<ImageName>,
        /// Version of the image, shown in `/etc/os-release` and in file names.
        version: At<ImageVersion> = At::default_value(ImageVersion::initial()),
        /// One line about the image.
        description: Option<String>,
        /// Values that `--set NAME=VALUE` may change, used anywhere in a value of the recipe as `${NAME}`: `channel: stable`. Besides
        /// these there are `${arch}` (Debian's name of the board's architecture: `arm64`), `${machine}` (the kernel's: `aarch64`)
        /// and `${board}`. A dollar sign before it, as in `$${NAME}`, stands for the text `${NAME}` itself.
        // Their values are part of the fingerprint, not the way they were written.
        #[serde(skip)]
        variables: Named<VariableName, RecipeVariable>,
        /// Board the image is for: a file of `boards/` without `.yaml`.
        board: At<BoardName>,
        /// Recipe files to build on, relative to this file; a later one wins over an earlier one, this file over all.
        ///
        /// Mappings merge key by key. Lists are joined, inherited entries first; write a list as a mapping of `add`, `remove` and
        /// `only` to change the inherited one. Anything else replaces what was inherited. `null` takes away an inherited
        /// entry of `users` or `repositories`.
        extends: Extends,
        /// The Debian distribution that packages come from.
        distribution: Distribution,
        /// Further repositories, by a name of your choice.
        repositories: Named<RepositoryName, Repository>,
        /// Packages to install, with what they depend on.
        packages: Vec<At<PackageName>>,
        /// Packages that must not come in, not even as a dependency: whatever needs one of them is an error.
        exclude: Vec<At<PackageName>>,
        /// Whether packages that are only recommended come in too.
        recommends: bool = false,
        /// Whether the packages come in that Debian marks as Essential: others use them without depending on them.
        essential: bool = true,
        /// Essential packages that come in only where another package depends on them, each with the reason: `dpkg: nothing is
        /// installed on the node`.
        lean: Named<PackageName, String>,
        /// Packages whose maintainer scripts you have looked at: no warning that they are not run, and no reason to run them.
        acknowledge: Vec<At<PackageName>>,
        /// Whether packages' maintainer scripts are run, in a sandbox on this machine.
        #[serde(skip_serializing_if = "ScriptsMode::is_auto")]
        scripts: At<ScriptsMode> = At::default_value(ScriptsMode::Auto),
        /// Answers to what packages ask by debconf when they are installed, by question: `postfix/main_mailer_type: Local only`. They are
        /// checked against the packages' templates.
        #[serde(skip_serializing_if = "Named::is_empty")]
        debconf: Named<DebconfQuestion, At<DebconfAnswer>>,
        /// The first process of the running system.
        init: At<InitSystem> = At::default_value(InitSystem::Systemd),
        /// Folders of `overlays/` whose files are laid over the root, in this order.
        overlays: Vec<At<OverlayName>>,
        /// Files that come by their address instead of in a package, by a name of your choice: a vendor's program, an archive. The
        /// lock pins each by size and SHA-256.
        #[serde(skip_serializing_if = "Named::is_empty")]
        downloads: Named<DownloadName, Download>,
        /// Images of containers that are baked in, by a name of your choice, for Podman to start without a network. The lock pins each
        /// by its digests.
        #[serde(skip_serializing_if = "Named::is_empty")]
        containers: Named<ContainerName, Container>,
        /// Packages of a Python index, as wheels.
        #[serde(skip_serializing_if = "Python::is_empty")]
        python: Python,
        /// Files of the image by their path, each with its text, or with text, owner and mode: `/etc/motd: "Hello\\n"`. They are laid
        /// over packages and overlays; one that is there already must be replaced on purpose.
        #[serde(skip_serializing_if = "Named::is_empty")]
        files: Named<FilePath, File>,
        /// Settings of the kernel's `sysctl`, by name: `vm.swappiness: 10`.
        #[serde(skip_serializing_if = "Named::is_empty")]
        sysctl: Named<SysctlName, At<SysctlValue>>,
        /// systemd units to turn on or off.
        services: Services,
        /// Groups to add, by name. Those of packages are there already.
        #[serde(skip_serializing_if = "Named::is_empty")]
        groups: Named<GroupName, Group>,
        /// Users to add, by name. `root` is there already and may be given keys or a password.
        users: Named<UserName, User>,
        /// Host name.
        hostname: At<HostName> = At::default_value(HostName::image_name()),
        /// Time zone.
        timezone: At<TimeZone> = At::default_value(TimeZone::utc()),
        /// Language and character set of programs.
        locale: At<Locale> = At::default_value(Locale::c()),
        /// Kernel: modules and command line.
        kernel: Kernel,
        /// What is left out of the packages' files.
        prune: Prune,
        /// Files and folders that live on the data partition and so outlast reboots and updates. On the first boot they are
        /// filled with what the image holds at that path.
        state: Vec<At<StatePath>>,
        /// The read-only root and the RAM overlay on it.
        root: Root,
        /// Sizes of the partitions.
        partitions: Partitions,
        /// Settings for what `fruit.yaml` on the card leaves open, in the same form.
        first_boot: Section,
        /// Settings of the updater, `fruit-update`.
        update: Section,
        /// The node's part of its fleet's network, `fruit-peer`: with this section, `fleet: {}` for one, it is in the image. A node
        /// does nothing for a fleet until it has an invite (`invite:` in fruit.yaml or in `first_boot`).
        #[serde(skip_serializing_if = "Section::is_absent")]
        fleet: Section,
        /// Settings of the power agent, `fruit-agent`.
        agent: Section,
        /// Files that a build writes.
        outputs: Outputs,
    }
}

crate::declare::text! {
    /// A name for a repository in the recipe: lower-case letters, digits and `-`.
    "a name for a repository"
    pub struct RepositoryName = |text| ImageName::new(text).map(|_| ()).map_err(crate::decode::Flaw::new), pattern crate::words::SLUG;
}

/// The files named by `extends`: one, or a list. Empty in a recipe that has been loaded, for then they are merged.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Extends(pub Vec<At<String>>);

impl Decode for Extends {
    fn what() -> String {
        "a recipe file, or a list of them".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(Self(vec![At::new(text.clone(), node.place.clone())])),
            Kind::List(_) => Vec::decode(node, found).map(Self),
            _ => {
                wrong_type::<Self>(node, found);
                None
            }
        }
    }
    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

impl JsonSchema for Extends {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Extends".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    }
}

mapping! {
    /// The Debian distribution that packages come from. The mirror's address is no part of a recipe unless given here: it comes
    /// from the command line, the environment, your configuration or this machine's apt.
    "the settings of the distribution"
    pub struct Distribution {
        /// Release.
        suite: At<Suite> = At::default_value(Suite::trixie()),
        /// Parts of the archive.
        components: Vec<At<Component>> = vec![At::default_value(Component::main())],
        /// Whether security updates are taken.
        security: bool = true,
        /// Whether point release updates (`SUITE-updates`) are taken.
        updates: bool = true,
        /// Mirror to use instead of the configured one, for example one that keeps old versions.
        mirror: Option<At<Url>>,
        /// Mirror of the security updates, where `mirror` does not carry them.
        security_mirror: Option<At<Url>>,
        /// Whether metadata past its `Valid-Until` is refused, as apt's option of that name. Default: yes, unless `mirror` is given.
        check_valid_until: Option<bool>,
        /// File of OpenPGP keys that may sign, relative to this file. Default: Debian's own archive keys.
        keyring: Option<At<String>>,
    }
}

mapping! {
    /// A repository besides Debian's.
    "the settings of a repository"
    pub struct Repository {
        /// Address of its top.
        url: At<Url>,
        /// Suite, as in `deb URL SUITE COMPONENT`. A flat repository, as in `deb URL /` or `deb URL PATH/`, has its path here, with
        /// `/` at the end.
        suite: At<Suite>,
        /// Components. A flat repository has none.
        components: Vec<At<Component>> = vec![At::default_value(Component::main())],
        /// File of OpenPGP keys, binary or armoured, relative to this file. One of them must have signed the repository.
        key: At<String>,
        /// Whether metadata past its `Valid-Until` is refused, as apt's option of that name. `false` is for snapshots and
        /// repositories that are no longer updated; keys that expired after they signed count then, too.
        check_valid_until: bool = true,
        /// Debian architectures it is used for; empty: all.
        architectures: Vec<At<crate::board::Architecture>>,
    }
}

keyword! {
    /// The first process of the running system.
    "an init system"
    pub enum InitSystem {
        /// systemd.
        Systemd = "systemd",
        /// busybox init, from the `inittab` of an overlay.
        Busybox = "busybox",
    }
}

mapping! {
    /// systemd units. As on any Debian, what packages enable when they are installed starts at boot too, unless a preset
    /// or `disable` says otherwise; the manifest of a build names each unit that starts and who enabled it.
    "lists of services"
    pub struct Services {
        /// Units that start at boot.
        enable: Vec<At<UnitName>>,
        /// Units that do not start at boot; wins over `enable` of a base.
        disable: Vec<At<UnitName>>,
        /// Units that cannot be started at all.
        mask: Vec<At<UnitName>>,
    }
}

mapping! {
    /// A group.
    "the settings of a group"
    pub struct Group {
        /// Number of the group. Default: one that follows from its name, below 1000.
        gid: Option<At<Whole<1, 59999>>>,
    }
}

mapping! {
    /// A user account.
    "the settings of a user"
    pub struct User {
        /// Number of the user and of its own group. Default: the first free one from 1000 on, in the order of this file.
        uid: Option<At<Whole<1000, 59999>>>,
        /// Main group. Default: a group of the user's name.
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<At<GroupName>>,
        /// Further groups. One that neither a package nor `groups` of the recipe brings is an error.
        groups: Vec<At<GroupName>>,
        /// Whether it is the account of a service: an id below 1000, no home, no login shell.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        system: bool = false,
        /// Home folder. Default: `/home/NAME`.
        home: Option<At<DevicePath>>,
        /// Login shell. Default: `/bin/bash` if it is in the image, else `/bin/sh`.
        shell: Option<At<DevicePath>>,
        /// Full name.
        full_name: Option<At<String>>,
        /// Public keys that may log in by ssh.
        ssh_keys: Vec<At<SshKey>>,
        /// `locked`, or a hash as in `/etc/shadow`. Never a password.
        password: At<Password> = At::default_value(Password::locked()),
    }
}

mapping! {
    /// Kernel: modules and command line.
    "the settings of the kernel"
    pub struct Kernel {
        /// Kernel package to use instead of the board's.
        package: Option<At<PackageName>>,
        /// Modules that stay in the image besides the board's, with what they depend on.
        modules: Vec<At<ModuleName>>,
        /// Those of them that are loaded at boot.
        load: Vec<At<ModuleName>>,
        /// Sets of modules by what they are for: `nfs-server`, `wireguard`. Those of installed programs are in the image without being named.
        sets: Vec<At<ModuleSet>>,
        /// Words to add to the kernel's command line.
        command_line: Vec<At<KernelWord>>,
    }
}

mapping! {
    /// What is left out of the packages' files. Each rule's saving is in the build's report.
    "the rules of pruning"
    pub struct Prune {
        /// `/usr/share/doc` (copyright files stay), lintian and bug reports.
        docs: bool = true,
        /// `/usr/share/man` and `/usr/share/info`.
        man: bool = true,
        /// Translations, except `languages`.
        translations: bool = true,
        /// Languages whose translations stay.
        languages: Vec<At<Language>>,
        /// Shell completions.
        completions: bool = true,
        /// Character set converters of the C library, except UTF-8, UTF-16, UTF-32 and Latin-1.
        gconv: bool = true,
        /// perl, which Debian's base brings for maintainer scripts. Kept when a package of the recipe is `perl` or needs more than `perl-base`.
        perl: bool = true,
        /// Databases of hardware names of udev.
        hardware_names: bool = true,
        /// systemd's message catalogue.
        catalog: bool = true,
        /// sysvinit and runit scripts, cron folders.
        init_scripts: bool = true,
        /// apt, dpkg, debconf and their state (package records for scanners stay).
        package_manager: bool = true,
        /// Kernel modules that neither the board nor the recipe names.
        modules: bool = true,
        /// Firmware that no module of the image asks for.
        firmware: bool = true,
        /// Further files to leave out.
        remove: Vec<At<Glob>>,
        /// Files that stay whatever the rules say.
        keep: Vec<At<Glob>>,
    }
}

mapping! {
    /// The read-only root and the RAM overlay on it.
    "the settings of the root"
    pub struct Root {
        /// File system of the root.
        format: At<RootFormat> = At::default_value(RootFormat::Erofs),
        /// Most that the RAM overlay may hold, in percent of the memory or as a size. Default: the board's.
        overlay: Option<At<OverlayCap>>,
    }
}

keyword! {
    /// File system of the read-only root.
    "a root file system"
    pub enum RootFormat {
        /// EROFS, uncompressed: small deltas, mapped pages. Kernels since 5.4.
        Erofs = "erofs",
        /// ext4, for kernels without EROFS.
        Ext4 = "ext4",
    }
}

mapping! {
    /// Sizes of the partitions. A slot's partitions exist twice. Sizes cannot be changed by an update, so leave room.
    "the sizes of partitions"
    pub struct Partitions {
        /// Firmware, loader and `fruit.yaml` (FAT32, which needs 34 MiB at least).
        firmware: At<PartitionSize<34, 4096>>,
        /// Kernel, initramfs and device trees of one slot (FAT).
        boot: At<PartitionSize<16, 4096>>,
        /// Root of one slot.
        root: At<PartitionSize<16, 65536>>,
        /// Data in the image; it grows to the end of the card at first boot.
        data: At<PartitionSize<16, 1_048_576>>,
    }
}

mapping! {
    /// Files that a build writes to `out/`.
    "the outputs of a build"
    pub struct Outputs {
        /// The card image.
        img: bool = true,
        /// The card image, compressed with zstd.
        zst: bool = true,
        /// The block map, by which only blocks in use are written to a card.
        bmap: bool = true,
        /// The list of all packages in SPDX 2.3.
        sbom: bool = true,
        /// The list of all inputs and sizes.
        manifest: bool = true,
        /// Level of zstd, from fast to small.
        zstd_level: At<Whole<1, 22>> = At::default_value(Whole::clamped(3)),
    }
}

/// Defaults, each one a text that obeys its own rule.
macro_rules! defaults {
    ($($type:ident :: $name:ident = $text:literal),* $(,)?) => { $(
        impl $type {
            fn $name() -> Self {
                Self::new($text).unwrap_or_else(|_| unreachable!("a default by its own rule"))
            }
        }
    )* };
}
defaults! {
    ImageVersion::initial = "0.1.0",
    Suite::trixie = "trixie",
    Component::main = "main",
    HostName::image_name = "{name}",
    TimeZone::utc = "UTC",
    Locale::c = "C.UTF-8",
}
