//! Why this machine allows no sandbox, and what to do about it.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::protocol::{Failure, Step};

/// This machine allows no sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub tried: Vec<Tried>,
}

/// A way to make a sandbox that did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub what: String,
    pub cause: String,
    /// What to do, in a sentence.
    pub remedy: String,
}

/// A line for each cause, and one for what to do.
impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine allows no sandbox")?;
        for Tried { what, cause, remedy } in &self.tried {
            write!(f, "\n  {what}: {cause}\n    {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unavailable {}

/// Cause and remedy of a failed trial.
pub fn diagnose(error: &Error) -> (String, String) {
    let machine = Machine::look();
    match error {
        Error::Inside(failure) => of(failure, &machine),
        Error::Map(said) => (
            format!("the ids cannot be mapped: {said}"),
            match &machine.container {
                Some(container) => format!("{container}: allow set-user-id programs (no `no-new-privileges`), or run the job as root"),
                None => "reinstall the package uidmap: newuidmap and newgidmap must be set-user-id root, or have file capabilities".to_owned(),
            },
        ),
        other => (other.to_string(), "run again; if it fails in the same way, use `scripts: never`".to_owned()),
    }
}

/// What of this machine decides about user namespaces.
#[derive(Default)]
struct Machine {
    /// Debian's switch.
    clone_forbidden: bool,
    /// Ubuntu's, from 23.10 on.
    apparmor_restricts: bool,
    none_allowed: bool,
    /// What kind of container this is in, if in one.
    container: Option<String>,
    filtered: bool,
}

impl Machine {
    fn look() -> Machine {
        let value = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default().trim().to_owned();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let container = if Path::new("/.dockerenv").exists() {
            Some("Docker's container")
        } else if Path::new("/run/.containerenv").exists() {
            Some("Podman's container")
        } else {
            std::env::var_os("KUBERNETES_SERVICE_HOST").map(|_| "Kubernetes' container")
        };
        Machine {
            clone_forbidden: value("kernel/unprivileged_userns_clone") == "0",
            apparmor_restricts: value("kernel/apparmor_restrict_unprivileged_userns") == "1",
            none_allowed: value("user/max_user_namespaces") == "0",
            container: container.map(str::to_owned),
            filtered: status.lines().any(|line| line.starts_with("Seccomp:") && line.trim_end().ends_with('2')),
        }
    }
}

/// `errno` of the kernel: not permitted, invalid, no room for more.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;

fn of(failure: &Failure, machine: &Machine) -> (String, String) {
    let refused = matches!(failure.number, Some(EPERM | EACCES));
    let (cause, remedy) = match failure.step {
        Step::UserNamespace if machine.none_allowed => (
            "user namespaces are off (user.max_user_namespaces = 0)",
            "as root: sysctl -w user.max_user_namespaces=15000",
        ),
        Step::UserNamespace if refused && machine.clone_forbidden => (
            "only root may make user namespaces (kernel.unprivileged_userns_clone = 0)",
            "as root: sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        Step::UserNamespace | Step::Identity | Step::Namespaces | Step::Mounts
            if refused && machine.apparmor_restricts =>
        {
            (
                "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns = 1)",
                "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give the program an AppArmor profile with the rule `userns,`",
            )
        }
        Step::UserNamespace | Step::Namespaces | Step::Mounts
            if refused && (machine.filtered || machine.container.is_some()) =>
        {
            let name = machine.container.as_deref().unwrap_or("the container");
            return (
                format!("{name} forbids it: {failure}"),
                "start the container with --privileged, or with --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
                 --security-opt systempaths=unconfined"
                    .to_owned(),
            );
        }
        Step::Proc if refused => (
            "a container hides parts of /proc, so no new one may be mounted",
            "start the container with --security-opt systempaths=unconfined (Docker, Podman), or procMount: Unmasked (Kubernetes)",
        ),
        _ if failure.number == Some(ENOSYS) => {
            return (failure.to_string(), "use a kernel of version 5.12 or newer".to_owned());
        }
        _ => return (failure.to_string(), "see the guide on CI for what a sandbox needs".to_owned()),
    };
    (cause.to_owned(), remedy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(step: Step) -> Failure {
        Failure { number: Some(EPERM), ..Failure::new(step, "making a user namespace", "Operation not permitted") }
    }

    #[test]
    fn each_known_obstacle_is_named_with_its_remedy() {
        let cases: [(Step, Machine, &str, &str); 5] = [
            (
                Step::UserNamespace,
                Machine { none_allowed: true, ..Machine::default() },
                "max_user_namespaces",
                "sysctl",
            ),
            (
                Step::UserNamespace,
                Machine { clone_forbidden: true, ..Machine::default() },
                "unprivileged_userns_clone",
                "sysctl",
            ),
            (Step::Namespaces, Machine { apparmor_restricts: true, ..Machine::default() }, "AppArmor", "profile"),
            (
                Step::UserNamespace,
                Machine { filtered: true, ..Machine::default() },
                "the container forbids",
                "seccomp=unconfined",
            ),
            (Step::Proc, Machine::default(), "/proc", "systempaths=unconfined"),
        ];
        for (step, machine, cause, remedy) in cases {
            let (said, advice) = of(&refused(step), &machine);
            assert!(said.contains(cause) && advice.contains(remedy), "{said} / {advice}");
        }
    }

    #[test]
    fn a_person_reads_what_was_tried_why_it_failed_and_what_to_do() {
        let tried = Tried { what: "user namespace".into(), cause: "forbidden".into(), remedy: "allow it".into() };
        let text = Unavailable { tried: vec![tried] }.to_string();
        assert_eq!(text, "this machine allows no sandbox\n  user namespace: forbidden\n    allow it");
    }
}
