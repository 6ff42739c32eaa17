//! What can happen, one thing at a time.

use arbitrary::Arbitrary;
use fastrand::Rng;
use invoker::http::Response;
use invoker_fuzz::callout_error;

use crate::head::Host;
use crate::world::{VMS, World};

#[derive(Arbitrary, Debug)]
pub(crate) enum Step<'a> {
    Request {
        vm: bool,
        host: Host,
    },
    Leave {
        which: u8,
    },
    Advance {
        milliseconds: u16,
    },
    Freeze {
        seconds: u8,
    },
    SetClock {
        seconds: i16,
    },
    /// The server answers a callout as it feels.
    Answer {
        which: u8,
    },
    /// Somebody else does.
    Forge {
        which: u8,
        status: u16,
        retry_after: Option<u16>,
        body: &'a [u8],
    },
    Fail {
        which: u8,
        how: u8,
    },
    Sign {
        which: u8,
        signature: Option<&'a [u8]>,
    },
    FallIll {
        how: u64,
    },
    Wake {
        vm: bool,
    },
    Restart {
        vm: bool,
    },
    Scribble {
        which: u8,
        bytes: &'a [u8],
    },
}

impl World {
    pub(crate) fn step(&mut self, step: &Step<'_>) {
        match *step {
            Step::Request { vm, ref host } => {
                self.request(usize::from(vm), host);
            }
            Step::Leave { which } => {
                let vm = usize::from(which) % VMS;
                let state = &mut self.vms[vm];
                let ids: Vec<_> = state.waiting.keys().copied().collect();
                if let Some(id) = pick(&ids, which) {
                    state.waiting.remove(&id);
                    state.core.handle_cancel(id);
                }
            }
            Step::Advance { milliseconds } => self.advance(milliseconds.into()),
            Step::Freeze { seconds } => {
                let frozen = u64::from(seconds) * 1000;
                self.monotonic += frozen;
                self.unix += frozen;
                for vm in &mut self.vms {
                    // Nobody can be answered by a process that does not run.
                    vm.waiting.values_mut().for_each(|it| it.since += frozen);
                    vm.sent.values_mut().for_each(|at| *at += frozen);
                }
                (0..VMS).for_each(|vm| self.tick(vm));
            }
            Step::SetClock { seconds } => {
                self.unix = self.unix.saturating_add_signed(i64::from(seconds) * 1000)
            }
            Step::Answer { which } => self.answer(which),
            Step::Forge {
                which,
                status,
                retry_after,
                body,
            } => {
                let mut headers = vec![("Metadata-Flavor".to_owned(), "Google".to_owned())];
                headers.extend(
                    retry_after.map(|seconds| ("Retry-After".to_owned(), seconds.to_string())),
                );
                let status = if status % 2 == 0 { 200 } else { status };
                self.reply(which, |_, _| {
                    Ok(Response {
                        status,
                        headers,
                        body: body.to_vec(),
                    })
                });
            }
            Step::Fail { which, how } => self.reply(which, |_, _| Err(callout_error(how))),
            Step::Sign { which, signature } => self.sign(usize::from(which) % VMS, signature),
            Step::FallIll { how } => self.server.fall_ill(&mut Rng::with_seed(how)),
            Step::Wake { vm } => self.wake(usize::from(vm)),
            Step::Restart { vm } => {
                let vm = usize::from(vm);
                self.vms[vm] = self.core(vm);
                self.tick(vm);
            }
            Step::Scribble { which, bytes } => {
                let keys = self.store.keys();
                if let Some(key) = pick(&keys, which) {
                    self.store.overwrite(&key, bytes);
                }
            }
        }
    }
}

fn pick<T: Clone>(all: &[T], which: u8) -> Option<T> {
    all.get(usize::from(which) % all.len().max(1)).cloned()
}
