//! All audiences of one VM: those that the configuration spells out, and a bounded number of others.

use std::collections::{BTreeMap, HashMap};

use super::entry::{Entry, Keep};
use crate::store::RecordKey;
use crate::wanted::Wanted;

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
    /// The bearer, which comes behind the literals.
    bearer: Option<EntryId>,
    derived: BTreeMap<EntryId, Entry>,
    by_wanted: HashMap<Wanted, EntryId>,
    next_id: u64,
    uses: u64,
}

impl Entries {
    pub(super) fn new(
        identity: String,
        literals: &[Wanted],
        keep: Keep,
        bearer: Option<(&Wanted, String)>,
    ) -> Self {
        let mut literals: Vec<_> = literals
            .iter()
            .map(|wanted| Entry::new(wanted.clone(), RecordKey::literal(&identity, wanted), keep))
            .collect();
        let bearer = bearer.map(|(wanted, identity)| {
            let key = RecordKey::literal(&identity, wanted);
            literals.push(Entry::new(wanted.clone(), key, Keep::Idle));
            EntryId(literals.len() as u64 - 1)
        });
        Self {
            identity,
            bearer,
            next_id: literals.len() as u64,
            literals,
            derived: BTreeMap::new(),
            by_wanted: HashMap::new(),
            uses: 0,
        }
    }

    /// The literal audience at that place of the configuration's list.
    pub(super) fn literal(&self, index: usize) -> Option<&Entry> {
        self.literals.get(index)
    }

    /// What entries need that IAM is asked for.
    pub(super) fn bearer(&self) -> Option<EntryId> {
        self.bearer
    }

    pub(super) fn literal_id(&self, index: usize) -> Option<EntryId> {
        (index < self.literals.len()).then_some(EntryId(index as u64))
    }

    /// A derived audience's entry, if there is one, marked as used just now.
    pub(super) fn used(&mut self, wanted: &Wanted) -> Option<&Entry> {
        let entry = self.derived.get_mut(self.by_wanted.get(wanted)?)?;
        self.uses += 1;
        entry.last_used = self.uses;
        entry.keep = Keep::Used;
        Some(entry)
    }

    /// A derived audience's entry, made if need be; `None` if all places are taken by audiences that
    /// requests wait for.
    pub(super) fn derived_id(&mut self, wanted: &Wanted) -> Option<EntryId> {
        if self.used(wanted).is_some() {
            return self.by_wanted.get(wanted).copied();
        }
        if self.derived.len() >= MAX_DERIVED {
            self.evict()?;
        }
        let id = EntryId(self.next_id);
        self.next_id += 1;
        let key = RecordKey::derived(&self.identity, wanted);
        self.uses += 1;
        let mut entry = Entry::new(wanted.clone(), key, Keep::Used);
        entry.last_used = self.uses;
        self.derived.insert(id, entry);
        self.by_wanted.insert(wanted.clone(), id);
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

    /// All that requests ask for.
    pub(super) fn iter_asked(&self) -> impl Iterator<Item = &Entry> {
        let literals = self.literals.len() - usize::from(self.bearer.is_some());
        self.literals
            .iter()
            .take(literals)
            .chain(self.derived.values())
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
        self.by_wanted.remove(&entry.wanted);
        Some(())
    }
}
