//! The decision of the shape that upstream filters have (`cluster: "*"`) allocates nothing.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use invoker::config::Config;
use invoker::rules::{Annotation, Decision, RequestHead, Target};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Asking it for anything fails the test.
struct Silent;

impl RequestHead for Silent {
    fn cluster(&self) -> Option<String> {
        unreachable!()
    }

    fn authority(&self) -> Option<String> {
        unreachable!()
    }

    fn path(&self) -> Option<String> {
        unreachable!()
    }

    fn annotation(&self, _: Annotation) -> Option<Vec<u8>> {
        unreachable!()
    }
}

#[test]
fn one_audience_for_all_is_decided_without_an_allocation_and_without_a_question() {
    let config = Config::from_json(
        r#"{"credentials": {"type": "metadata", "cluster": "metadata"},
            "audiences": [{"cluster": "*", "audience": "https://profiles.run.app"}]}"#,
    )
    .unwrap();
    let before = ALLOCATIONS.get();
    let decision = config.rules.decide(&Silent);
    let allocated = ALLOCATIONS.get() - before;
    assert!(matches!(
        decision,
        Decision::Attach {
            target: Target::Literal(0),
            ..
        }
    ));
    assert_eq!(allocated, 0);
}
