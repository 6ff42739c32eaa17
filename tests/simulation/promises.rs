//! The invariants: what `World` asks after every step.

use std::collections::BTreeMap;

use invoker::time::UnixTime;
use invoker::token::Token;

/// A callout that some VM sent, or a signature that it waits for.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) audience: String,
    pub(crate) lease_until: u64,
    pub(crate) is_over: bool,
}

/// What must have happened, as seen from outside of all VMs.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    sent: Vec<Sent>,
    /// When each audience was asked for, in milliseconds.
    asked: BTreeMap<String, Vec<u64>>,
    /// The last usable moment of the best token that came for each audience.
    usable_until: BTreeMap<String, UnixTime>,
}

/// With somebody waiting, the pauses are 100 ms to 1 s and some 400 ms on average; as many as this in
/// ten seconds is a loop.
const MOST_IN_TEN_SECONDS: usize = 45;

impl Promises {
    /// Promise 1 and 5: one callout at a time for an audience, and never a hot loop.
    pub(crate) fn on_callout(
        &mut self,
        audience: &str,
        now: u64,
        lease_until: u64,
        is_first: bool,
        exact: bool,
    ) -> usize {
        if exact {
            let other = self
                .sent
                .iter()
                .find(|sent| sent.audience == audience && !sent.is_over && now < sent.lease_until);
            assert!(
                other.is_none(),
                "two callouts in flight for {audience}: {other:?}"
            );
            if is_first {
                let asked = self.asked.entry(audience.to_owned()).or_default();
                asked.push(now);
                asked.retain(|at| now - at < 10_000);
                assert!(
                    asked.len() <= MOST_IN_TEN_SECONDS,
                    "{} callouts for {audience} in ten seconds: {asked:?}",
                    asked.len()
                );
            }
        }
        self.sent.push(Sent {
            audience: audience.to_owned(),
            lease_until,
            is_over: false,
        });
        self.sent.len() - 1
    }

    pub(crate) fn on_answer(&mut self, sent: usize) {
        self.sent[sent].is_over = true;
    }

    /// A VM took in a good answer.
    pub(crate) fn on_token(&mut self, audience: &str, usable_until: UnixTime) {
        let best = self
            .usable_until
            .entry(audience.to_owned())
            .or_insert(usable_until);
        *best = usable_until.max(*best);
    }

    /// Promise 2 and 9: while a token that ever came is usable, nobody waits.
    pub(crate) fn must_be_served_at_once(&self, audience: &str, now: UnixTime) -> bool {
        self.usable_until
            .get(audience)
            .is_some_and(|until| now < *until)
    }

    /// Promise 3 and 6: what is attached is alive and for this audience.
    pub(crate) fn on_attach(&self, token: &Token, audience: &str, now: UnixTime) {
        assert!(
            token.is_usable(now),
            "a dead token for {audience} at {now:?}: {token:?}"
        );
        let claims = token.secret().split('.').nth(1).unwrap();
        let claims =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
        let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap()).unwrap();
        assert_eq!(claims["aud"], audience, "a token of another audience");
    }
}
