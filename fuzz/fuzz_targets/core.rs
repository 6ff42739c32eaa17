//! The whole core as a state machine: two virtual machines over one store, driven by whatever events come in whatever order, against servers that
//! answer whatever they like. The promises that hold in any world are asked after each step, and in the end, with a well server, everybody is
//! served.

#![no_main]

#[path = "core/head.rs"]
mod head;
#[path = "../../tests/simulation/kinds.rs"]
#[allow(dead_code, reason = "the simulation takes more of it")]
mod kinds;
#[path = "../../tests/simulation/server.rs"]
#[allow(dead_code, reason = "the simulation takes more of it")]
mod server;
#[path = "core/step.rs"]
mod step;
#[path = "core/world.rs"]
mod world;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use step::Step;
use world::World;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    kind: u8,
    prefetch: bool,
    lives_long: bool,
    seed: u64,
    steps: Vec<Step<'a>>,
}

fuzz_target!(init: kinds::prepare(), |input: Input<'_>| {
    let mut world = World::new(&input);
    for step in input.steps.iter().take(256) {
        world.step(step);
        world.check();
    }
    world.recover();
});
