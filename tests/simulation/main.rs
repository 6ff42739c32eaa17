//! A whole Envoy played in one thread (as many of them at once as there are processors): several VMs over one shared store, virtual clocks, and a
//! seeded scheduler that delays, drops and duplicates callouts and wake-ups, loses swaps, kills VMs in
//! mid-flight, lets clients leave, updates the configuration, freezes the process, sets the wall
//! clock, and turns the server bad and good again.
//!
//! After every step the promises hold as invariants (`promises`). A seed that breaks one is printed;
//! `INVOKER_SIMULATION_SEED=n cargo test --test simulation -- --nocapture` replays it with a log.
//! `INVOKER_SIMULATION_SEEDS=n` plays so many.

// Here a panic is how a broken promise is reported.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod chance;
mod kinds;
mod promises;
mod server;
mod store;
mod world;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use invoker::audience::Audience;
use invoker::source::Source;
use invoker::store::RecordKey;
use kinds::Kind;
use world::{DERIVED, World};

const DEFAULT_SEEDS: u64 = 3000;

#[test]
fn the_promises_hold_for_every_seed() {
    if let Some(seed) = number("INVOKER_SIMULATION_SEED") {
        World::new(seed, true).play();
        return;
    }
    let seeds = number("INVOKER_SIMULATION_SEEDS").unwrap_or(DEFAULT_SEEDS);
    kinds::prepare();
    let started = Instant::now();
    let total = play(seeds);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds, {:.0} a second: {total:?}",
        seeds as f64 / seconds
    );
    // A simulation in which nothing happens proves nothing.
    assert!(
        total.served > seeds && total.waited > seeds && total.denied > seeds,
        "{total:?}"
    );
    assert!(
        total.callouts > seeds && total.wakes > seeds / 10,
        "{total:?}"
    );
}

/// All seeds below this one, as many at once as there are processors. The first that breaks a promise ends it.
fn play(seeds: u64) -> world::Totals {
    let next = AtomicU64::new(0);
    let play_some = || {
        let mut total = world::Totals::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return total;
            }
            match catch_unwind(AssertUnwindSafe(|| World::new(seed, false).play())) {
                Ok(totals) => total += totals,
                Err(_) => {
                    next.store(seeds, Ordering::Relaxed);
                    panic!(
                        "seed {seed} breaks a promise; replay it with INVOKER_SIMULATION_SEED={seed} cargo test --test simulation -- --nocapture"
                    );
                }
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
        let mut total = world::Totals::default();
        for player in players {
            match player.join() {
                Ok(totals) => total += totals,
                Err(broken) => resume_unwind(broken),
            }
        }
        total
    })
}

#[test]
fn each_derived_audience_has_a_slot_of_its_own() {
    for kind in Kind::ALL {
        let identity = Source::new(&kind.credentials(), &|_| None)
            .unwrap()
            .identity();
        let slots = DERIVED.map(|audience| {
            let audience = Audience::parse(audience).unwrap();
            RecordKey::derived(&identity, &audience.into()).name
        });
        let shared = slots.iter().collect::<BTreeSet<_>>().len() < slots.len();
        assert!(
            !shared,
            "take other audiences: with {kind:?} they are in {slots:?}"
        );
    }
}

#[test]
fn one_seed_is_played_the_same_way_twice() {
    for seed in 0..20 {
        let (one, other) = (
            World::new(seed, false).play(),
            World::new(seed, false).play(),
        );
        assert_eq!(one, other, "seed {seed}");
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}; write a whole number")),
    )
}
