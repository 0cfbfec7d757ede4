//! Pieces of releases from neighbours: who has it is asked first, then one of those who do for the bytes, and the next one if that
//! takes too long or brings something else.

use std::collections::{BTreeMap, BTreeSet};

use fruit_base::Sha256;
use fruit_release::name::Name;

use super::link::{Action, LinkId, Millis, Ticket};
use crate::piece::{Found, check};
use crate::wire::Frame;

/// Time for the answer who has it.
const ASKED: Millis = 1_500;
/// Time for the bytes, after which the next one is asked as well.
const SLOW: Millis = 8_000;
/// Time for the whole piece.
const PATIENCE: Millis = 20_000;
/// How long a neighbour that was busy, or has sent garbage, is asked last.
const REST: Millis = 1_000;
/// Pieces that were something else, after which nobody talks to a node any more.
const GARBAGE: u32 = 3;

/// What came of asking one neighbour for a piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetched {
    Bytes(Vec<u8>),
    /// It does not have it.
    Nothing,
    /// It has too much to do.
    Busy,
    /// The connection broke, or nothing came for too long.
    Failed,
}

#[derive(Debug)]
struct Ask {
    repository: Sha256,
    name: Name,
    since: Millis,
    /// Neighbours that have not said yet whether they have it.
    unknown: BTreeSet<LinkId>,
    /// Those that do, and were not asked for the bytes.
    having: Vec<LinkId>,
    /// Those that were asked for them, and when.
    under_way: BTreeMap<LinkId, Millis>,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, Default)]
struct Provider {
    under_way: usize,
    delivered: u64,
    garbage: u32,
    rests_until: Millis,
}

/// Questions for pieces.
#[derive(Debug, Default)]
pub struct Pieces {
    asks: BTreeMap<Ticket, Ask>,
    /// Questions who has something, by their number.
    questions: BTreeMap<u64, (Ticket, LinkId)>,
    next: u64,
    providers: BTreeMap<LinkId, Provider>,
    actions: Vec<Action>,
    now: Millis,
    /// Pieces that came and were something else.
    pub garbage: u64,
}

impl Pieces {
    pub fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// These neighbours belong to the fleet by now.
    pub fn links(&mut self, links: &[LinkId]) {
        for link in links {
            if self.providers.insert(*link, self.providers.get(link).copied().unwrap_or_default()).is_some() {
                continue;
            }
            let open: Vec<Ticket> = self.asks.keys().copied().collect();
            open.into_iter().for_each(|ticket| self.question(ticket, *link));
        }
    }

    pub fn link_gone(&mut self, link: LinkId) {
        self.providers.remove(&link);
        self.questions.retain(|_, (_, of)| *of != link);
        for ask in self.asks.values_mut() {
            ask.unknown.remove(&link);
            ask.having.retain(|having| *having != link);
            ask.under_way.remove(&link);
        }
        self.drive_all();
    }

    pub fn forget(&mut self, ticket: Ticket) {
        self.asks.remove(&ticket);
        self.questions.retain(|_, (of, _)| *of != ticket);
    }

    pub fn ask(&mut self, ticket: Ticket, repository: Sha256, name: Name, links: &[LinkId], now: Millis) {
        self.now = now;
        for link in links {
            self.providers.entry(*link).or_default();
        }
        let (unknown, having, under_way) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        self.asks.insert(ticket, Ask { repository, name, since: now, unknown, having, under_way });
        links.iter().for_each(|link| self.question(ticket, *link));
        self.drive(ticket);
    }

    fn question(&mut self, ticket: Ticket, link: LinkId) {
        let Some(ask) = self.asks.get_mut(&ticket) else { return };
        ask.unknown.insert(link);
        self.next += 1;
        self.questions.insert(self.next, (ticket, link));
        let names = vec![ask.name.clone()];
        let frame = Frame::Ask { id: self.next, repository: ask.repository, names };
        self.actions.push(Action::Send { link, frame });
    }

    /// A neighbour says whether it has something.
    pub fn have(&mut self, link: LinkId, question: u64, bits: u64) {
        // Only who was asked answers.
        match self.questions.get(&question) {
            Some((_, of)) if *of == link => {}
            _ => return,
        }
        let Some((ticket, _)) = self.questions.remove(&question) else { return };
        if let Some(ask) = self.asks.get_mut(&ticket) {
            ask.unknown.remove(&link);
            if bits & 1 != 0 && !ask.having.contains(&link) {
                ask.having.push(link);
            }
        }
        self.drive(ticket);
    }

    /// What came of asking a neighbour for the bytes. Whether it has to be cut off.
    pub fn fetched(&mut self, ticket: Ticket, link: LinkId, fetched: Fetched, now: Millis) -> bool {
        self.now = now;
        let provider = self.providers.get_mut(&link);
        let mut blame = false;
        let checked = match (&fetched, self.asks.get(&ticket)) {
            (Fetched::Bytes(bytes), Some(ask)) => Some(check(&ask.repository, &ask.name, bytes)),
            _ => None,
        };
        if let Some(provider) = provider {
            provider.under_way = provider.under_way.saturating_sub(1);
            match (&fetched, checked) {
                (_, Some(Found::Wrong)) => {
                    provider.garbage += 1;
                    provider.rests_until = now + 60 * REST;
                    blame = provider.garbage >= GARBAGE;
                }
                (Fetched::Bytes(_), _) => provider.delivered += 1,
                (Fetched::Busy | Fetched::Failed, _) => provider.rests_until = now + REST,
                (Fetched::Nothing, _) => {}
            }
        }
        self.garbage += u64::from(checked == Some(Found::Wrong));
        let Some(ask) = self.asks.get_mut(&ticket) else { return blame };
        ask.under_way.remove(&link);
        match (fetched, checked) {
            (Fetched::Bytes(bytes), Some(Found::Right | Found::Unsaid)) => {
                self.forget(ticket);
                self.actions.push(Action::Answer { ticket, piece: Some(bytes) });
            }
            // It may have time for it later.
            (Fetched::Busy, _) => ask.having.push(link),
            _ => {}
        }
        self.drive(ticket);
        blame
    }

    pub fn tick(&mut self, now: Millis) {
        self.now = now;
        self.drive_all();
    }

    fn drive_all(&mut self) {
        let all: Vec<Ticket> = self.asks.keys().copied().collect();
        all.into_iter().for_each(|ticket| self.drive(ticket));
    }

    /// Goes on with a question, if there is anything to do.
    fn drive(&mut self, ticket: Ticket) {
        let now = self.now;
        let Some(ask) = self.asks.get_mut(&ticket) else { return };
        if ask.since + ASKED <= now {
            ask.unknown.clear();
        }
        let active = ask.under_way.values().any(|since| since + SLOW > now);
        let out_of_time = ask.since + PATIENCE <= now && !active;
        if !active && !out_of_time {
            // The one with the least to do, of those the one that has brought most.
            let rank = |link: &LinkId| {
                let provider = self.providers.get(link).copied().unwrap_or_default();
                (provider.rests_until > now, provider.under_way, u64::MAX - provider.delivered, *link)
            };
            let best = ask.having.iter().copied().min_by_key(rank);
            // One that rests is waited for.
            if let Some(link) = best.filter(|link| !rank(link).0) {
                ask.having.retain(|having| *having != link);
                ask.under_way.insert(link, now);
                let (repository, name) = (ask.repository, ask.name.clone());
                self.providers.entry(link).or_default().under_way += 1;
                self.actions.push(Action::Fetch { ticket, link, repository, name });
                return;
            }
        }
        if out_of_time || (ask.under_way.is_empty() && ask.having.is_empty() && ask.unknown.is_empty()) {
            self.forget(ticket);
            self.actions.push(Action::Answer { ticket, piece: None });
        }
    }
}
