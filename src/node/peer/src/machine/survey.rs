//! Questions who has which pieces, without fetching any: how far a release has come.

use std::collections::{BTreeMap, BTreeSet};

use fruit_base::Sha256;
use fruit_record::KeyId;
use fruit_release::name::Name;

use super::link::{Action, LinkId, Millis, Ticket};
use crate::wire::{Frame, NAMES};

/// Time for all answers.
const PATIENCE: Millis = 5_000;
/// Numbers of these questions begin here: [`super::pieces`] counts from one on.
const FIRST: u64 = 1 << 62;
/// Names of one survey: what a neighbour answers within its budget.
pub const MOST: usize = 2 * 1024;

#[derive(Debug)]
struct Survey {
    since: Millis,
    open: BTreeSet<u64>,
    found: BTreeMap<KeyId, u64>,
}

/// Surveys under way.
#[derive(Debug, Default)]
pub struct Surveys {
    all: BTreeMap<Ticket, Survey>,
    /// By the number of the question: whose survey, who was asked, and how many bits of the answer count.
    questions: BTreeMap<u64, (Ticket, LinkId, KeyId, usize)>,
    next: u64,
    actions: Vec<Action>,
}

impl Surveys {
    pub fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub fn ask(&mut self, ticket: Ticket, repository: Sha256, names: &[Name], links: &[(LinkId, KeyId)], now: Millis) {
        let mut survey = Survey { since: now, open: BTreeSet::new(), found: BTreeMap::new() };
        for (link, peer) in links {
            survey.found.insert(*peer, 0);
            for names in names[..names.len().min(MOST)].chunks(NAMES) {
                self.next += 1;
                let id = FIRST + self.next;
                survey.open.insert(id);
                self.questions.insert(id, (ticket, *link, *peer, names.len()));
                let frame = Frame::Ask { id, repository, names: names.to_vec() };
                self.actions.push(Action::Send { link: *link, frame });
            }
        }
        self.all.insert(ticket, survey);
        self.end(ticket);
    }

    /// An answer; whether it is one to a survey.
    pub fn have(&mut self, link: LinkId, question: u64, bits: u64) -> bool {
        if question < FIRST {
            return false;
        }
        // Only who was asked answers, and only for what it was asked.
        let asked = self.questions.get(&question).copied().filter(|(_, of, ..)| *of == link);
        let Some((ticket, _, peer, names)) = asked else { return true };
        self.questions.remove(&question);
        let mask = u64::MAX.checked_shr(64 - u32::try_from(names).unwrap_or(64).min(64)).unwrap_or(0);
        if let Some(survey) = self.all.get_mut(&ticket) {
            survey.open.remove(&question);
            *survey.found.entry(peer).or_default() += u64::from((bits & mask).count_ones());
        }
        self.end(ticket);
        true
    }

    pub fn link_gone(&mut self, link: LinkId) {
        let gone: Vec<u64> = self.questions.iter().filter(|(_, asked)| asked.1 == link).map(|(id, _)| *id).collect();
        for id in gone {
            let Some((ticket, ..)) = self.questions.remove(&id) else { continue };
            if let Some(survey) = self.all.get_mut(&ticket) {
                survey.open.remove(&id);
            }
            self.end(ticket);
        }
    }

    pub fn tick(&mut self, now: Millis) {
        let late: Vec<Ticket> =
            self.all.iter().filter(|(_, survey)| survey.since + PATIENCE <= now).map(|(ticket, _)| *ticket).collect();
        for ticket in late {
            if let Some(survey) = self.all.get_mut(&ticket) {
                survey.open.clear();
            }
            self.end(ticket);
        }
    }

    /// Answers a survey that nobody has to be waited for any more.
    fn end(&mut self, ticket: Ticket) {
        if self.all.get(&ticket).is_none_or(|survey| !survey.open.is_empty()) {
            return;
        }
        let Some(survey) = self.all.remove(&ticket) else { return };
        self.questions.retain(|_, asked| asked.0 != ticket);
        self.actions.push(Action::Surveyed { ticket, found: survey.found.into_iter().collect() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_and_nobody_is_waited_for_for_ever() {
        let (one, two) = (KeyId([1; 32]), KeyId([2; 32]));
        let names: Vec<Name> = (0..70u8).map(|n| Name::Chunk(Sha256([n; 32]))).collect();
        let mut surveys = Surveys::default();
        surveys.ask(7, Sha256([0; 32]), &names, &[(1, one), (2, two)], 0);
        let asked: Vec<(LinkId, u64)> = surveys
            .take()
            .into_iter()
            .filter_map(|action| match action {
                Action::Send { link, frame: Frame::Ask { id, .. } } => Some((link, id)),
                _ => None,
            })
            .collect();
        assert_eq!(asked.len(), 4);
        // Somebody else's question, and one of `pieces`.
        assert!(surveys.have(2, asked[0].1, u64::MAX) && !surveys.have(1, 1, u64::MAX));
        assert!(surveys.have(1, asked[0].1, u64::MAX) && surveys.have(1, asked[1].1, u64::MAX));
        assert_eq!(surveys.take(), []);
        assert!(surveys.have(2, asked[2].1, 0b101));
        surveys.tick(PATIENCE - 1);
        assert_eq!(surveys.take(), []);
        surveys.tick(PATIENCE);
        assert_eq!(surveys.take(), [Action::Surveyed { ticket: 7, found: vec![(one, 70), (two, 2)] }]);
        // Nobody is there.
        surveys.ask(8, Sha256([0; 32]), &names, &[], 0);
        assert_eq!(surveys.take(), [Action::Surveyed { ticket: 8, found: Vec::new() }]);
        surveys.ask(9, Sha256([0; 32]), &names, &[(1, one)], 0);
        surveys.link_gone(1);
        assert!(surveys.take().contains(&Action::Surveyed { ticket: 9, found: vec![(one, 0)] }));
    }
}
