//! A refresh as a dialogue: what is wanted next, and the bytes for it, from whatever source.

use super::clock::{Clock, Freshness};
use super::error::{Error, Role};
use super::limits;
use super::metadata::MetaFile;
use super::trust::Trust;

/// A file of a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Want {
    /// Relative to the repository, in a form that is safe both as a path and in a URL: `metadata/2.root.json`.
    pub name: String,
    /// Most bytes that it may have: a source that delivers more is cut off there.
    pub limit: u64,
}

/// A refresh under way. Ask [`Refresh::want`], fetch, [`Refresh::give`], until nothing is wanted:
///
/// ```no_run
/// # use fruit_release::tuf::{Clock, Error, Freshness, Stored, Trust, Want};
/// # fn read(want: &Want) -> Option<Vec<u8>> { None }
/// # fn store(stored: &Stored) {}
/// # fn refreshed(trust: &mut Trust, clock: Clock) -> Result<Freshness, Error> {
/// let mut refresh = trust.refresh(clock);
/// while let Some(want) = refresh.want() {
///     refresh.give(read(&want).as_deref())?;
///     store(&refresh.trust().stored());
/// }
/// Ok(refresh.freshness())
/// # }
/// ```
///
/// What was verified before an error stays verified. After an error the same file is still wanted: it may be given from
/// another mirror.
#[derive(Debug)]
pub struct Refresh<'t> {
    trust: &'t mut Trust,
    clock: Clock,
    step: Step,
    rotations: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    Done,
}

impl Trust {
    /// Starts a refresh: from whatever source, file by file. The clock is read once, as section 5.2 wants.
    pub fn refresh(&mut self, clock: Clock) -> Refresh<'_> {
        Refresh { trust: self, clock, step: Step::Root, rotations: 0 }
    }
}

impl Refresh<'_> {
    /// The file that is needed next; `None` at the end.
    #[must_use]
    pub fn want(&self) -> Option<Want> {
        let versioned = self.trust.consistent_snapshot();
        match self.step {
            Step::Root => Some(Want {
                name: format!("metadata/{}.root.json", self.trust.root_version() + 1),
                limit: limits::ROOT as u64,
            }),
            Step::Timestamp => Some(Want { name: "metadata/timestamp.json".into(), limit: limits::TIMESTAMP as u64 }),
            Step::Snapshot => {
                self.trust.wanted_snapshot().map(|file| listed("snapshot", file, versioned, limits::SNAPSHOT))
            }
            Step::Targets => self
                .trust
                .wanted_targets("targets.json")
                .map(|file| listed("targets", file, versioned, limits::TARGETS)),
            Step::Done => None,
        }
    }

    /// Takes the wanted file, or `None` if the source does not have it: for the next root that is the usual answer.
    ///
    /// # Errors
    /// Why the file is refused; [`Error::Absent`] if the repository cannot do without it.
    pub fn give(&mut self, bytes: Option<&[u8]>) -> Result<(), Error> {
        match (self.step, bytes) {
            (Step::Root, Some(bytes)) => {
                self.trust.update_root(bytes)?;
                self.rotations += 1;
                if self.rotations >= limits::ROOT_ROTATIONS {
                    self.roots_done()?;
                }
            }
            (Step::Root, None) => self.roots_done()?,
            (Step::Timestamp, Some(bytes)) => {
                self.trust.update_timestamp(bytes, &self.clock)?;
                self.step = Step::Snapshot;
                if self.trust.snapshot_is_current() {
                    self.snapshot_done()?;
                }
            }
            (Step::Snapshot, Some(bytes)) => {
                self.trust.update_snapshot(bytes, &self.clock)?;
                self.snapshot_done()?;
            }
            (Step::Targets, Some(bytes)) => {
                self.trust.update_targets(bytes, &self.clock)?;
                self.step = Step::Done;
            }
            (Step::Done, _) => {}
            (_, None) => return Err(Error::Absent(self.want().map_or_else(String::new, |want| want.name))),
        }
        Ok(())
    }

    /// The last root is there. Section 5.3.10.
    fn roots_done(&mut self) -> Result<(), Error> {
        self.trust.check_held_expiry(&Role::Root, &self.clock)?;
        self.step = Step::Timestamp;
        Ok(())
    }

    fn snapshot_done(&mut self) -> Result<(), Error> {
        self.trust.check_held_expiry(&Role::Snapshot, &self.clock)?;
        self.step = Step::Targets;
        if self.trust.wanted_targets("targets.json").is_none() {
            return Err(Error::NotListed { role: Role::Targets });
        }
        if self.trust.targets_are_current() {
            self.trust.check_held_expiry(&Role::Targets, &self.clock)?;
            self.step = Step::Done;
        }
        Ok(())
    }

    /// What is trusted by now.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        self.trust
    }

    /// How current that is.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.trust.freshness(&self.clock)
    }
}

/// `name` is safe in paths and URLs.
pub(super) fn listed(name: &str, file: &MetaFile, versioned: bool, limit: usize) -> Want {
    let name =
        if versioned { format!("metadata/{}.{name}.json", file.version) } else { format!("metadata/{name}.json") };
    Want { name, limit: file.length.unwrap_or(u64::MAX).min(limit as u64) }
}
