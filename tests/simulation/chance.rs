//! What a seed decides beforehand: which kinds of trouble its world has at all.
//!
//! Some promises can only be checked exactly where a kind of trouble is absent (a wake-up that was
//! dropped can't be on time), so most worlds lack most kinds.

use fastrand::Rng;

use crate::kinds::Kind;

#[derive(Debug)]
pub(crate) struct Chances {
    pub(crate) kind: Kind,
    pub(crate) workers: usize,
    /// Of 100 swaps, so many are lost although nobody else wrote.
    pub(crate) lost_swaps: u32,
    /// Of 100 wake-ups, so many never arrive.
    pub(crate) dropped_wakes: u32,
    /// Of 100 answers, so many arrive twice.
    pub(crate) doubled_answers: u32,
    /// Of 100 callouts, so many never end, not even by the host's timeout.
    pub(crate) lost_callouts: u32,
    pub(crate) kills: bool,
    pub(crate) updates: bool,
    pub(crate) freezes: bool,
    pub(crate) clock_is_set: bool,
    pub(crate) server_turns_bad: bool,
    pub(crate) clients_leave: bool,
    /// A neighbour writes into our records.
    pub(crate) hostile: bool,
    /// Clients make up hosts without end.
    pub(crate) flood: bool,
    pub(crate) prefetch: bool,
    /// Seconds.
    pub(crate) token_lifetime: u64,
}

impl Chances {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let often = |rng: &mut Rng| rng.u8(..100) < 40;
        let rarely = |rng: &mut Rng| rng.u8(..100) < 15;
        Self {
            kind: Kind::draw(rng),
            workers: rng.usize(1..=8),
            lost_swaps: if often(rng) { rng.u32(1..30) } else { 0 },
            dropped_wakes: if often(rng) { rng.u32(1..100) } else { 0 },
            doubled_answers: if often(rng) { rng.u32(1..50) } else { 0 },
            lost_callouts: if rarely(rng) { rng.u32(1..30) } else { 0 },
            kills: often(rng),
            updates: often(rng),
            freezes: rarely(rng),
            clock_is_set: rarely(rng),
            server_turns_bad: rng.u8(..100) < 70,
            clients_leave: often(rng),
            hostile: rarely(rng),
            flood: rng.u8(..100) < 3,
            prefetch: rng.bool(),
            token_lifetime: match rng.u8(..4) {
                0 => rng.u64(31..60),
                1 => rng.u64(60..400),
                _ => 3600,
            },
        }
    }

    /// Whether records hold what our VMs wrote and nothing else.
    pub(crate) fn records_are_ours(&self) -> bool {
        !self.hostile
    }

    /// Whether a wake-up that is sent is on time.
    pub(crate) fn wakes_are_sure(&self) -> bool {
        self.dropped_wakes == 0
            && self.lost_swaps == 0
            && !self.hostile
            && !self.freezes
            && !self.clock_is_set
            && !self.flood
    }
}
