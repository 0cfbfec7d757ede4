//! What has been selected so far, and what that rules out.

use std::collections::{BTreeMap, HashMap};

use super::{Reason, Refusal, Resolution, Resolved};
use crate::index::{MultiArch, Offer};
use crate::relation::{ArchQualifier, Clause, Relation, Relations};
use crate::universe::{OfferId, Universe};
use crate::version::Version;

struct Selected {
    id: OfferId,
    reason: Reason,
    /// Something else could have been selected in its place.
    choice: bool,
}

pub(super) struct Selection<'u> {
    universe: &'u Universe,
    by_name: BTreeMap<&'u str, Selected>,
    /// Virtual name to who provides it, in which version.
    provided: HashMap<String, Vec<(OfferId, Option<Version>)>>,
    /// Name to who will not have it: Conflicts and Breaks of the selected packages.
    unwanted: HashMap<String, Vec<(OfferId, &'static str, Relation)>>,
}

impl<'u> Selection<'u> {
    pub(super) fn new(universe: &'u Universe) -> Selection<'u> {
        Selection { universe, by_name: BTreeMap::new(), provided: HashMap::new(), unwanted: HashMap::new() }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The selected package that meets the clause, if there is one.
    pub(super) fn satisfies(&self, clause: &Clause) -> Option<OfferId> {
        clause.0.iter().find_map(|relation| {
            let real = self.by_name.get(relation.name.as_str()).map(|s| s.id).filter(|id| {
                let offer = self.universe.offer(*id);
                relation.accepts(&offer.version) && arch_fits(relation, offer, self.universe.architecture())
            });
            let virtual_ = || {
                let all = self.provided.get(&relation.name)?;
                all.iter().find(|(_, version)| relation.accepts_provided(version.as_ref())).map(|(id, _)| *id)
            };
            real.or_else(virtual_)
        })
    }

    /// Why `id` cannot be added, if it cannot.
    pub(super) fn obstacle(&self, id: OfferId) -> Option<Refusal> {
        let offer = self.universe.offer(id);
        if let Some(other) = self.by_name.get(&*offer.name) {
            let version = self.universe.offer(other.id).version.clone();
            return Some(Refusal::OtherVersionSelected { name: offer.name.to_string(), version });
        }
        let own_names = self.universe.provides(offer);
        let against_it = |name: &str, meets: &dyn Fn(&Relation) -> bool| {
            let relations = self.unwanted.get(name)?;
            let (by, field, relation) = relations.iter().find(|(_, _, relation)| meets(relation))?;
            Some(Refusal::RuledOut {
                by: self.universe.offer(*by).name.to_string(),
                field,
                relation: relation.to_string(),
            })
        };
        let hit = against_it(&offer.name, &|r| r.accepts(&offer.version))
            .or_else(|| own_names.iter().find_map(|p| against_it(&p.name, &|r| r.accepts_provided(p.version()))));
        if hit.is_some() {
            return hit;
        }
        self.dislikes(offer).into_iter().find_map(|(field, relation)| {
            let real = self.by_name.get(relation.name.as_str()).map(|s| self.universe.offer(s.id));
            let real = real.filter(|other| relation.accepts(&other.version));
            let other = real.or_else(|| {
                let all = self.provided.get(&relation.name)?;
                let found = all.iter().find(|(_, version)| relation.accepts_provided(version.as_ref()))?;
                Some(self.universe.offer(found.0))
            })?;
            Some(Refusal::Rules { out: other.name.to_string(), field, relation: relation.to_string() })
        })
    }

    pub(super) fn add(&mut self, id: OfferId, reason: Reason, choice: bool) {
        let offer = self.universe.offer(id);
        for provided in self.universe.provides(offer) {
            let version = provided.version().cloned();
            self.provided.entry(provided.name).or_default().push((id, version));
        }
        for (field, relation) in self.dislikes(offer) {
            self.unwanted.entry(relation.name.clone()).or_default().push((id, field, relation));
        }
        self.by_name.insert(&offer.name, Selected { id, reason, choice });
    }

    /// The selected package that `refusal` blames, if another could have been selected in its place.
    pub(super) fn choice_behind(&self, refusal: &Refusal) -> Option<OfferId> {
        let name = match refusal {
            Refusal::RuledOut { by, .. } => by,
            Refusal::Rules { out, .. } => out,
            Refusal::OtherVersionSelected { name, .. } => name,
            _ => return None,
        };
        self.by_name.get(name.as_str()).filter(|s| s.choice).map(|s| s.id)
    }

    /// From a requested package to `id`: each with its reason.
    pub(super) fn chain(&self, id: OfferId) -> Vec<(String, Reason)> {
        let mut chain = Vec::new();
        let mut name = &*self.universe.offer(id).name;
        while let Some((key, selected)) = self.by_name.get_key_value(name) {
            chain.push(((*key).to_owned(), selected.reason.clone()));
            match &selected.reason {
                Reason::Needed { by, .. } if chain.len() <= self.by_name.len() => name = by,
                _ => break,
            }
        }
        chain.reverse();
        chain
    }

    pub(super) fn into_resolution(self) -> Resolution<'u> {
        let universe = self.universe;
        let packages = self.by_name.into_values().map(|s| Resolved { offer: universe.offer(s.id), reason: s.reason });
        Resolution { packages: packages.collect() }
    }

    /// Conflicts and Breaks. A text that cannot be parsed rules nothing out.
    fn dislikes(&self, offer: &Offer) -> Vec<(&'static str, Relation)> {
        let fields = [("Conflicts", &offer.conflicts), ("Breaks", &offer.breaks)];
        let parsed = fields.into_iter().flat_map(|(field, text)| {
            let clauses = Relations::parse(text).unwrap_or_default().0;
            clauses.into_iter().flat_map(|clause| clause.0).map(move |relation| (field, relation))
        });
        let arch = self.universe.architecture();
        parsed.filter(|(_, r)| !matches!(&r.arch, Some(ArchQualifier::Named(other)) if other != arch)).collect()
    }
}

/// Whether a relation's architecture qualifier lets `offer` meet it, on a system of one architecture.
pub(super) fn arch_fits(relation: &Relation, offer: &Offer, native: &str) -> bool {
    match &relation.arch {
        None | Some(ArchQualifier::Native) => true,
        Some(ArchQualifier::Any) => offer.multi_arch == MultiArch::Allowed,
        Some(ArchQualifier::Named(arch)) => arch == native || *arch == *offer.architecture,
    }
}
