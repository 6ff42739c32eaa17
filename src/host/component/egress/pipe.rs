//! One body on its way through, with its trailers.

use wasip2::http::types::{Fields, FutureTrailers, IncomingBody, OutgoingBody};
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// What is held of a body at a time.
const CHUNK_BYTES: u64 = 64 * 1024;

/// From one side to the other. Nothing is read that can't be written yet, so that the slower side sets the pace.
pub(super) struct Pipe {
    state: Option<State>,
    /// The way on. Dropped without an end, it tells the other side that the body is not whole.
    to: Option<OutgoingBody>,
}

/// Streams are dropped before the bodies that they belong to: fields are in that order.
enum State {
    Moving {
        source: InputStream,
        sink: OutputStream,
        held: Vec<u8>,
        from: IncomingBody,
    },
    Flushing {
        sink: OutputStream,
        from: IncomingBody,
    },
    Trailing(FutureTrailers),
}

impl Pipe {
    pub(super) fn new(from: IncomingBody, to: OutgoingBody) -> Option<Self> {
        let source = from.stream().ok()?;
        let sink = to.write().ok()?;
        Some(Self {
            state: Some(State::Moving {
                source,
                sink,
                held: Vec::new(),
                from,
            }),
            to: Some(to),
        })
    }

    /// What it waits for; nothing at its end.
    pub(super) fn subscribe(&self) -> Option<Pollable> {
        Some(match self.state.as_ref()? {
            State::Moving {
                source, held, sink, ..
            } => match held.is_empty() {
                true => source.subscribe(),
                false => sink.subscribe(),
            },
            State::Flushing { sink, .. } => sink.subscribe(),
            State::Trailing(trailers) => trailers.subscribe(),
        })
    }

    /// Goes as far as it can without waiting.
    pub(super) fn step(&mut self) {
        while let Some(state) = self.state.take() {
            match state {
                State::Moving {
                    source,
                    sink,
                    mut held,
                    from,
                } => match advance(&source, &sink, &mut held) {
                    Ok(Progress::Waits) => {
                        self.state = Some(State::Moving {
                            source,
                            sink,
                            held,
                            from,
                        });
                        return;
                    }
                    Ok(Progress::Drained) => {
                        drop(source);
                        if sink.flush().is_err() {
                            return self.break_off();
                        }
                        self.state = Some(State::Flushing { sink, from });
                    }
                    Err(()) => return self.break_off(),
                },
                State::Flushing { sink, from } => match sink.check_write() {
                    Ok(0) => {
                        self.state = Some(State::Flushing { sink, from });
                        return;
                    }
                    Ok(_) => {
                        drop(sink);
                        self.state = Some(State::Trailing(IncomingBody::finish(from)));
                    }
                    Err(_) => return self.break_off(),
                },
                State::Trailing(trailers) => match trailers.get() {
                    None => {
                        self.state = Some(State::Trailing(trailers));
                        return;
                    }
                    Some(Ok(Ok(found))) => return self.finish(found),
                    Some(_) => return self.break_off(),
                },
            }
        }
    }

    fn finish(&mut self, trailers: Option<Fields>) {
        let entries = trailers
            .map(|trailers| trailers.entries())
            .unwrap_or_default();
        // A host that has no trailers may refuse even empty ones.
        let copy = (!entries.is_empty()).then(|| {
            let copy = Fields::new();
            for (name, value) in entries {
                let _ = copy.append(&name, &value);
            }
            copy
        });
        if let Some(to) = self.to.take() {
            // Without an end it is broken off, and that is all that could be said.
            let _ = OutgoingBody::finish(to, copy);
        }
    }

    fn break_off(&mut self) {
        self.to = None;
    }
}

enum Progress {
    Waits,
    Drained,
}

fn advance(source: &InputStream, sink: &OutputStream, held: &mut Vec<u8>) -> Result<Progress, ()> {
    loop {
        if held.is_empty() {
            match source.read(CHUNK_BYTES) {
                Ok(bytes) if bytes.is_empty() => return Ok(Progress::Waits),
                Ok(bytes) => *held = bytes,
                Err(StreamError::Closed) => return Ok(Progress::Drained),
                Err(StreamError::LastOperationFailed(_)) => return Err(()),
            }
        }
        let room = sink.check_write().map_err(|_| ())?;
        let now = usize::try_from(room).unwrap_or(usize::MAX).min(held.len());
        if now == 0 {
            return Ok(Progress::Waits);
        }
        let rest = held.split_off(now);
        sink.write(held).map_err(|_| ())?;
        *held = rest;
        // On its way at once: whoever waits for it may have to answer before more comes.
        if held.is_empty() {
            sink.flush().map_err(|_| ())?;
        }
    }
}
