//! The names of records.
//!
//! Envoy can't delete a key, and a client can make up hosts without end: so an audience that comes
//! from a request shares a fixed number of slots, while one that the configuration spells out has a
//! key of its own. The record holds the full key either way and is compared on reading.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::wanted::Wanted;

/// Slots for derived audiences. A VM keeps at most 1,000, and what collides only costs a fetch.
pub const DERIVED_SLOTS: u64 = 1024;

/// Everything of ours begins so, with the version of the record's format: neighbours of all kinds
/// write to the same map.
const PREFIX: &str = "invoker/1";

/// Where a record lies, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordKey {
    /// The name in the store.
    pub name: Box<str>,
    /// The credential's identity, the callout cluster and what is wanted: what the record must hold.
    pub full: Box<str>,
}

impl RecordKey {
    /// For an audience that the configuration spells out. `identity` names the credential and where
    /// it is asked; it holds no line break.
    pub fn literal(identity: &str, wanted: &Wanted) -> Self {
        let full = full(identity, wanted);
        Self {
            name: format!("{PREFIX}/token/{full}").into(),
            full,
        }
    }

    /// For an audience that came with a request.
    pub fn derived(identity: &str, wanted: &Wanted) -> Self {
        let full = full(identity, wanted);
        let slot = hash(&full) % DERIVED_SLOTS;
        Self {
            name: format!("{PREFIX}/slot/{slot}").into(),
            full,
        }
    }
}

/// Where the VMs tell each other that a credential has brought a token at least once.
pub fn success_key(identity: &str) -> String {
    format!("{PREFIX}/success/{identity}")
}

/// Whether a [`Record`](super::Record) lies there.
pub(super) fn is_record(name: &str) -> bool {
    let kind = name.strip_prefix(PREFIX).unwrap_or_default();
    kind.starts_with("/token/") || kind.starts_with("/slot/")
}

/// What a name or a full key is shortened to. Where two are shortened alike, it costs a fetch: a record says whose it is.
pub(super) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// No part of an identity holds a line break, and its first part says how many there are: so no two
/// pairs have the same text.
fn full(identity: &str, wanted: &Wanted) -> Box<str> {
    match wanted {
        Wanted::IdToken(audience) => format!("{identity}\n{}", audience.as_str()),
        Wanted::AccessToken(scopes) => format!("{identity}\naccess_token\n{}", scopes.as_str()),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::Audience;
    use crate::wanted::Scopes;

    #[test]
    fn made_up_hosts_share_a_fixed_number_of_names() {
        let names: std::collections::BTreeSet<_> = (0..20_000)
            .map(|n| {
                let audience = Audience::parse(&format!("https://h{n}.a.run.app"))
                    .unwrap()
                    .into();
                RecordKey::derived("metadata", &audience).name
            })
            .collect();
        assert_eq!(names.len() as u64, DERIVED_SLOTS);
    }

    #[test]
    fn literal_audiences_never_share_a_name_with_derived_ones() {
        let audience = Audience::parse("https://h.a.run.app").unwrap().into();
        let literal = RecordKey::literal("metadata", &audience);
        let derived = RecordKey::derived("metadata", &audience);
        assert_eq!(literal.full, derived.full);
        assert_ne!(literal.name, derived.name);
    }

    #[test]
    fn the_credential_is_part_of_the_key() {
        let audience = Audience::parse("https://h.a.run.app").unwrap().into();
        let one = RecordKey::literal("metadata\na@x", &audience);
        let other = RecordKey::literal("metadata\nb@x", &audience);
        assert_ne!(one.full, other.full);
        assert_ne!(one.name, other.name);
    }

    #[test]
    fn a_credential_s_success_is_its_own_and_no_record() {
        let keys = [success_key("metadata\na@x"), success_key("metadata\nb@x")];
        assert_ne!(keys[0], keys[1]);
        for key in keys {
            assert!(key.starts_with(PREFIX) && !is_record(&key), "{key:?}");
        }
    }

    #[test]
    fn the_kind_of_token_is_part_of_the_key() {
        let audience = Wanted::from(Audience::custom("openid").unwrap());
        let scopes = Wanted::from(Scopes::new(["openid"]).unwrap());
        let key = |wanted| RecordKey::literal("metadata\nm\ndefault", wanted);
        assert_ne!(key(&audience).full, key(&scopes).full);
        assert_ne!(key(&audience).name, key(&scopes).name);
    }
}
