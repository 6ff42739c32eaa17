//! All audiences of one VM: those that the configuration spells out, and a bounded number of others.

use std::collections::{BTreeMap, HashMap};

use super::entry::{Entry, Keep};
use crate::audience::Audience;
use crate::store::RecordKey;

/// At most so many derived audiences are kept; beyond it the least recently used one goes.
pub(super) const MAX_DERIVED: usize = 1000;

/// Never used twice, so that a late answer can't reach another audience's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId(u64);

impl EntryId {
    /// A literal's place in the list; beyond its end for a derived one.
    fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[derive(Debug)]
pub(super) struct Entries {
    identity: String,
    literals: Vec<Entry>,
    derived: BTreeMap<EntryId, Entry>,
    by_audience: HashMap<Audience, EntryId>,
    next_id: u64,
    uses: u64,
}

impl Entries {
    pub(super) fn new(identity: String, literals: &[Audience], keep: Keep) -> Self {
        let literals: Vec<_> = literals
            .iter()
            .map(|audience| {
                Entry::new(
                    audience.clone(),
                    RecordKey::literal(&identity, audience),
                    keep,
                )
            })
            .collect();
        Self {
            identity,
            next_id: literals.len() as u64,
            literals,
            derived: BTreeMap::new(),
            by_audience: HashMap::new(),
            uses: 0,
        }
    }

    /// The literal audience at that place of the configuration's list.
    pub(super) fn literal(&self, index: usize) -> Option<&Entry> {
        self.literals.get(index)
    }

    pub(super) fn literal_id(&self, index: usize) -> Option<EntryId> {
        (index < self.literals.len()).then_some(EntryId(index as u64))
    }

    /// A derived audience's entry, if there is one, marked as used just now.
    pub(super) fn used(&mut self, audience: &Audience) -> Option<&Entry> {
        let entry = self.derived.get_mut(self.by_audience.get(audience)?)?;
        self.uses += 1;
        entry.last_used = self.uses;
        entry.keep = Keep::Used;
        Some(entry)
    }

    /// A derived audience's entry, made if need be; `None` if all places are taken by audiences that
    /// requests wait for.
    pub(super) fn derived_id(&mut self, audience: &Audience) -> Option<EntryId> {
        if self.used(audience).is_some() {
            return self.by_audience.get(audience).copied();
        }
        if self.derived.len() >= MAX_DERIVED {
            self.evict()?;
        }
        let id = EntryId(self.next_id);
        self.next_id += 1;
        let key = RecordKey::derived(&self.identity, audience);
        self.uses += 1;
        let mut entry = Entry::new(audience.clone(), key, Keep::Used);
        entry.last_used = self.uses;
        self.derived.insert(id, entry);
        self.by_audience.insert(audience.clone(), id);
        Some(id)
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Entry> {
        match self.literals.get(id.index()) {
            Some(entry) => Some(entry),
            None => self.derived.get(&id),
        }
    }

    pub(super) fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        match self.literals.get_mut(id.index()) {
            Some(entry) => Some(entry),
            None => self.derived.get_mut(&id),
        }
    }

    /// Those for which something is to be done.
    pub(super) fn ids_where(&self, mut is_meant: impl FnMut(&Entry) -> bool) -> Vec<EntryId> {
        let literals = (0..).map(EntryId).zip(&self.literals);
        let derived = self.derived.iter().map(|(id, entry)| (*id, entry));
        literals
            .chain(derived)
            .filter(|(_, entry)| is_meant(entry))
            .map(|(id, _)| id)
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.literals.iter().chain(self.derived.values())
    }

    /// How many derived audiences there are.
    pub(super) fn derived_len(&self) -> usize {
        self.derived.len()
    }

    fn evict(&mut self) -> Option<()> {
        let (id, _) = self
            .derived
            .iter()
            .filter(|(_, entry)| entry.is_evictable())
            .min_by_key(|(_, entry)| entry.last_used)?;
        let id = *id;
        let entry = self.derived.remove(&id)?;
        self.by_audience.remove(&entry.audience);
        Some(())
    }
}
