//! Which packages a request needs, and why: breadth first, the first alternative that can be had, as apt decides for
//! an empty system. No backtracking but one: when a choice made earlier turns out to be in the way of a later need,
//! the resolution starts again without preferring it.

mod selection;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use crate::explain::{Refusal, Unsatisfiable};
use crate::index::Offer;
use crate::relation::{Clause, Relation, Relations};
pub use crate::request::{Reason, Request};
use crate::universe::{OfferId, Universe};
use crate::version::Version;

use selection::Selection;

/// Choices that may turn out wrong before a request is given up.
const MAX_RESTARTS: usize = 32;

/// The packages that a request needs.
#[derive(Debug)]
pub struct Resolution<'u> {
    /// In order of the name.
    pub packages: Vec<Resolved<'u>>,
}

#[derive(Debug)]
pub struct Resolved<'u> {
    pub offer: &'u Offer,
    pub reason: Reason,
}

impl Universe {
    /// Finds the packages that `request` needs. A package in `pins` is taken in exactly that version.
    ///
    /// # Errors
    /// The first need that cannot be met, and what stood in the way of each candidate.
    pub fn resolve(
        &self,
        request: &Request,
        pins: &BTreeMap<String, Version>,
    ) -> Result<Resolution<'_>, Box<Unsatisfiable>> {
        let mut avoid = BTreeSet::new();
        for _ in 0..MAX_RESTARTS {
            let mut attempt = Attempt::new(self, request, pins, &avoid);
            match attempt.run() {
                Ok(()) => return self.with_files_of(attempt.selection.into_resolution(), request, pins),
                Err(Stuck { culprit: Some(culprit), .. }) if !avoid.contains(&culprit) => avoid.insert(culprit),
                Err(Stuck { why, .. }) => return Err(why),
            };
        }
        let resolution = Attempt::new(self, request, pins, &avoid).run_to_resolution().map_err(|stuck| stuck.why)?;
        self.with_files_of(resolution, request, pins)
    }

    /// Adds the packages that only files are taken from, where they are not installed anyway.
    fn with_files_of<'u>(
        &'u self,
        mut resolution: Resolution<'u>,
        request: &Request,
        pins: &BTreeMap<String, Version>,
    ) -> Result<Resolution<'u>, Box<Unsatisfiable>> {
        for name in &request.files_of {
            if resolution.packages.iter().any(|p| *p.offer.name == **name) {
                continue;
            }
            let pin = pins.get(name);
            let mut offers = self.offers_of(name).iter().map(|id| self.offer(*id));
            let Some(offer) = offers.find(|offer| pin.is_none_or(|version| offer.version == *version)) else {
                return Err(Box::new(Unsatisfiable {
                    chain: Vec::new(),
                    field: String::new(),
                    requirement: name.clone(),
                    refused: vec![(name.clone(), pin.map_or(Refusal::Unknown, |v| Refusal::Pinned(v.clone())))],
                    hint: self.similar_name(name).map(|near| format!("did you mean {near:?}?")),
                }));
            };
            resolution.packages.push(Resolved { offer, reason: Reason::FilesOnly });
        }
        resolution.packages.sort_by(|a, b| a.offer.name.cmp(&b.offer.name));
        Ok(resolution)
    }
}

/// A dead end.
struct Stuck {
    why: Box<Unsatisfiable>,
    /// A package in the way that was one choice among several.
    culprit: Option<OfferId>,
}

struct Attempt<'u, 'r> {
    universe: &'u Universe,
    request: &'r Request,
    pins: &'r BTreeMap<String, Version>,
    exclude: BTreeSet<&'r str>,
    avoid: &'r BTreeSet<OfferId>,
    selection: Selection<'u>,
    queue: VecDeque<OfferId>,
}

impl<'u, 'r> Attempt<'u, 'r> {
    fn new(
        universe: &'u Universe,
        request: &'r Request,
        pins: &'r BTreeMap<String, Version>,
        avoid: &'r BTreeSet<OfferId>,
    ) -> Attempt<'u, 'r> {
        let exclude = request.exclude.iter().map(String::as_str).collect();
        let selection = Selection::new(universe);
        Attempt { universe, request, pins, exclude, avoid, selection, queue: VecDeque::new() }
    }

    fn run_to_resolution(mut self) -> Result<Resolution<'u>, Stuck> {
        self.run()?;
        Ok(self.selection.into_resolution())
    }

    fn run(&mut self) -> Result<(), Stuck> {
        for wanted in &self.request.packages {
            self.select_requested(wanted)?;
        }
        self.select_by_rank()?;
        while let Some(id) = self.queue.pop_front() {
            let offer = self.universe.offer(id);
            let mut clauses = Vec::new();
            for (field, text) in [("Pre-Depends", &offer.pre_depends), ("Depends", &offer.depends)] {
                clauses.extend(self.parse(id, field, text)?.0.into_iter().map(|clause| (field, clause)));
            }
            // What leaves no choice goes first: it often settles the others.
            clauses.sort_by_key(|(_, clause)| clause.0.len() > 1);
            for (field, clause) in clauses {
                self.satisfy(id, field, &clause)?;
            }
            if self.request.recommends {
                for clause in self.parse(id, "Recommends", &offer.recommends)?.0 {
                    // What cannot be had is done without: that is what tells Recommends from Depends.
                    let _ = self.satisfy(id, "Recommends", &clause);
                }
            }
        }
        Ok(())
    }

    /// Requested packages are all selected before the first dependency is looked at, so that they settle alternatives.
    fn select_requested(&mut self, wanted: &str) -> Result<(), Stuck> {
        let (name, version) = match wanted.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (wanted, None),
        };
        let relation = match version {
            None => name.to_owned(),
            Some(version) => format!("{name} (= {version})"),
        };
        let mut clause =
            Clause::parse(&relation).map_err(|e| self.stuck(None, "", wanted, vec![], Some(e.to_string())))?;
        if self.selection.satisfies(&clause).is_some() {
            return Ok(());
        }
        // A name that no package has stands for its only provider.
        if self.universe.offers_of(name).is_empty() {
            let providers: BTreeSet<&str> =
                self.universe.providers_of(name).map(|(id, _)| &*self.universe.offer(id).name).collect();
            match providers.iter().collect::<Vec<_>>()[..] {
                [] => {
                    let hint = self.universe.similar_name(name).map(|n| format!("did you mean {n:?}?"));
                    let refused = vec![(name.to_owned(), Refusal::Unknown)];
                    return Err(self.stuck(None, "", wanted, refused, hint));
                }
                [only] => clause = Clause::parse(only).unwrap_or(clause),
                _ => {
                    let names = providers.iter().copied().collect::<Vec<_>>().join(", ");
                    let hint = format!("{name:?} is provided by several packages; name one of them: {names}");
                    return Err(self.stuck(None, "", wanted, vec![], Some(hint)));
                }
            }
        }
        self.choose(None, "", &clause, |_| Reason::Requested)
    }

    fn select_by_rank(&mut self) -> Result<(), Stuck> {
        if !self.request.essential && self.request.priorities.is_empty() {
            return Ok(());
        }
        for (name, ids) in self.universe.names() {
            let Some(first) = ids.first().map(|id| self.universe.offer(*id)) else { continue };
            let reason =
                if self.request.essential && first.essential && !self.request.lean.iter().any(|lean| lean == name) {
                    Reason::Essential
                } else if self.request.priorities.contains(&first.priority) {
                    Reason::Priority(first.priority)
                } else {
                    continue;
                };
            if self.exclude.contains(name) || self.selection.has(name) {
                continue;
            }
            let relation = Relation { name: name.to_owned(), arch: None, version: None, only_on: Vec::new() };
            self.choose(None, "", &Clause(vec![relation]), |_| reason.clone())?;
        }
        Ok(())
    }

    fn satisfy(&mut self, by: OfferId, field: &'static str, clause: &Clause) -> Result<(), Stuck> {
        let applicable: Vec<Relation> =
            clause.0.iter().filter(|r| r.applies_to(self.universe.architecture())).cloned().collect();
        let clause = Clause(applicable);
        let supplied = clause.0.iter().any(|relation| self.request.supplied.contains(&relation.name));
        if clause.0.is_empty() || supplied || self.selection.satisfies(&clause).is_some() {
            return Ok(());
        }
        let by_name = self.universe.offer(by).name.to_string();
        let relation = clause.to_string();
        self.choose(Some(by), field, &clause, |_| Reason::Needed {
            by: by_name.clone(),
            field: field.to_owned(),
            relation: relation.clone(),
        })
    }

    /// Selects the first package that can be had among the clause's candidates.
    fn choose(
        &mut self,
        by: Option<OfferId>,
        field: &str,
        clause: &Clause,
        reason: impl Fn(OfferId) -> Reason,
    ) -> Result<(), Stuck> {
        let mut refused: Vec<(String, Refusal)> = Vec::new();
        let mut possible = Vec::new();
        for relation in &clause.0 {
            self.candidates(relation, &mut possible, &mut refused);
        }
        // Only what stood in the way of an earlier attempt goes to the end; the sort keeps the order otherwise.
        possible.sort_by_key(|id| self.avoid.contains(id));
        let choice = possible.len() > 1;
        for id in possible {
            match self.selection.obstacle(id) {
                None => {
                    self.selection.add(id, reason(id), choice);
                    self.queue.push_back(id);
                    return Ok(());
                }
                Some(refusal) => refused.push((self.universe.offer(id).label(), refusal)),
            }
        }
        let in_the_way = refused.iter().find_map(|(_, refusal)| self.selection.choice_behind(refusal));
        let mut stuck = self.stuck(by, field, &clause.to_string(), refused, None);
        stuck.culprit = in_the_way;
        Err(stuck)
    }

    /// Packages that meet `relation`, the best first: the real one by falling version, then providers by rank.
    fn candidates(&self, relation: &Relation, possible: &mut Vec<OfferId>, refused: &mut Vec<(String, Refusal)>) {
        let mut refuse = |label: String, why: Refusal| refused.push((label, why));
        let real = self.universe.offers_of(&relation.name);
        let mut seen_any = false;
        for id in real {
            seen_any = true;
            let offer = self.universe.offer(*id);
            match self.unfit(relation, offer) {
                Some(why) => refuse(offer.label(), why),
                None if !possible.contains(id) => possible.push(*id),
                None => {}
            }
        }
        let mut providers = Vec::new();
        for (id, version) in self.universe.providers_of(&relation.name) {
            seen_any = true;
            let offer = self.universe.offer(id);
            if !relation.accepts_provided(version) {
                let what = version.map_or("without a version".to_owned(), |v| format!("as version {v}"));
                refuse(offer.label(), Refusal::ProvidesOther(format!("{} {what}", relation.name)));
            } else if let Some(why) = self.unfit_name(offer) {
                refuse(offer.label(), why);
            } else if self.universe.is_newest(id) || self.pins.contains_key(&*offer.name) {
                providers.push(id);
            }
        }
        providers.sort_by_key(|id| {
            let offer = self.universe.offer(*id);
            (!offer.essential, offer.priority, &offer.name)
        });
        for id in providers {
            if !possible.contains(&id) {
                possible.push(id);
            }
        }
        if !seen_any {
            refuse(relation.name.clone(), Refusal::Unknown);
        }
    }

    fn unfit(&self, relation: &Relation, offer: &Offer) -> Option<Refusal> {
        if let Some(why) = self.unfit_name(offer) {
            return Some(why);
        }
        if !relation.accepts(&offer.version) {
            return Some(Refusal::WrongVersion);
        }
        let fits = selection::arch_fits(relation, offer, self.universe.architecture());
        if fits { None } else { Some(Refusal::WrongArchitecture) }
    }

    fn unfit_name(&self, offer: &Offer) -> Option<Refusal> {
        if self.exclude.contains(&*offer.name) {
            return Some(Refusal::Excluded);
        }
        match self.pins.get(&*offer.name) {
            Some(pin) if *pin != offer.version => Some(Refusal::Pinned(pin.clone())),
            _ => None,
        }
    }

    fn parse(&self, id: OfferId, field: &str, text: &str) -> Result<Relations, Stuck> {
        Relations::parse(text).map_err(|e| self.stuck(Some(id), field, text, vec![], Some(e.to_string())))
    }

    fn stuck(
        &self,
        by: Option<OfferId>,
        field: &str,
        requirement: &str,
        refused: Vec<(String, Refusal)>,
        hint: Option<String>,
    ) -> Stuck {
        let chain = by.map(|id| self.selection.chain(id)).unwrap_or_default();
        let field = field.to_owned();
        let why = Unsatisfiable { chain, field, requirement: requirement.to_owned(), refused, hint };
        Stuck { why: Box::new(why), culprit: None }
    }
}
