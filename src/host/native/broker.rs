//! Tokens for many who ask, on any thread: the core runs on a thread of its own, since it shares nothing.

use std::collections::BTreeMap;
use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Happening, MetadataServer, Native};
use crate::authenticator::{Event, RequestId};
use crate::config::Timing;
use crate::error::{Class, Code, Denial};
use crate::rules::Target;
use crate::secret::Secret;
use crate::source::Source;
use crate::time::UnixTime;
use crate::wanted::Wanted;

/// Asks one core for tokens; clones ask the same one. It ends with the last of them.
#[derive(Clone, Debug)]
pub struct TokenBroker(mpsc::UnboundedSender<Question>);

/// A token that may leave the core's thread.
#[derive(Debug)]
pub struct BrokeredToken {
    /// The token.
    pub secret: Secret,
    /// Its end.
    pub expires_at: UnixTime,
}

#[derive(Debug)]
struct Question {
    wanted: Wanted,
    answer: oneshot::Sender<Result<BrokeredToken, Denial>>,
}

impl TokenBroker {
    /// Starts the core. `report` is told what happens to tokens, on the core's thread.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(
        source: Source,
        timing: Timing,
        server: MetadataServer,
        report: fn(&Event),
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (questions, inbox) = mpsc::unbounded_channel();
        let run = move || {
            let host = Native::new(source, &[], timing, server);
            runtime.block_on(serve(host, inbox, report));
        };
        thread::Builder::new()
            .name("tokens".to_owned())
            .spawn(run)?;
        Ok(Self(questions))
    }

    /// A token from the cache or anew, at the latest after `timeout`.
    ///
    /// # Errors
    ///
    /// The core's denial.
    pub async fn token(&self, wanted: Wanted) -> Result<BrokeredToken, Denial> {
        let (answer, answered) = oneshot::channel();
        // Without a core the answer's other end is dropped, and that is noticed below.
        let _ = self.0.send(Question { wanted, answer });
        answered.await.unwrap_or_else(|_| {
            Err(Denial {
                class: Class::Transient,
                code: Code::CalloutUnavailable,
                message: "the thread that fetches tokens has ended".to_owned(),
            })
        })
    }
}

async fn serve(mut host: Native, mut inbox: mpsc::UnboundedReceiver<Question>, report: fn(&Event)) {
    let mut waiting: BTreeMap<RequestId, oneshot::Sender<_>> = BTreeMap::new();
    loop {
        tokio::select! {
            question = inbox.recv() => {
                let Some(Question { wanted, answer }) = question else {
                    return;
                };
                waiting.insert(host.ask(&Target::Derived(wanted)), answer);
            }
            happening = host.next() => match happening {
                Happening::Answered(request, result) => {
                    let token = result.map(|token| BrokeredToken {
                        secret: Secret::new(token.secret()),
                        expires_at: token.expires_at(),
                    });
                    if let Some(answer) = waiting.remove(&request) {
                        // Who asked may have left.
                        let _ = answer.send(token);
                    }
                }
                Happening::Event(event) => report(&event),
            },
        }
    }
}
