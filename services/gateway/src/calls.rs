//! Acknowledgements on their way from the shards of this process to whoever called.

use std::sync::Arc;

use adapter::Argument;
use broker::TooManyCalls;
use publish::{CallAnswer, CallEnd, CallEvent, Coverage};
use socketio::SocketId;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Reports that may wait for one caller; one more and the call is given up.
const REPORTS_MAX: usize = 1 << 18;
/// Bytes of answers that may wait for one caller; more and the call is given up.
const REPORT_BYTES_MAX: usize = 64 << 20;
/// What an answer takes in memory beside its bytes.
const REPORT_OVERHEAD: usize = 128;
/// Events that may wait for the caller behind the budget above.
const EVENTS_MAX: usize = 256;

/// What a shard says of a call.
#[derive(Debug)]
pub(crate) enum Report {
    /// A socket has answered.
    Answer(SocketId, Argument),
    /// A socket is gone without an answer.
    Lost,
}

/// A shard's end. When all shards have dropped theirs, the call is over.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    reports: mpsc::Sender<Report>,
    /// Bytes that may still wait; closed once they did not suffice.
    budget: Arc<Semaphore>,
}

/// The caller's end.
#[derive(Debug)]
pub(crate) struct Reports {
    reports: mpsc::Receiver<Report>,
    budget: Arc<Semaphore>,
}

/// Nobody waits for the call any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenUp;

/// The way of one call's reports.
pub(crate) fn reports() -> (Reporter, Reports) {
    let (sender, receiver) = mpsc::channel(REPORTS_MAX);
    let budget = Arc::new(Semaphore::new(REPORT_BYTES_MAX));
    (Reporter { reports: sender, budget: budget.clone() }, Reports { reports: receiver, budget })
}

impl Reporter {
    /// Passes a report on.
    ///
    /// # Errors
    /// [`GivenUp`] if the caller is gone, or does not take what comes.
    pub(crate) fn send(&self, report: Report) -> Result<(), GivenUp> {
        let bytes = u32::try_from(report.bytes()).unwrap_or(u32::MAX);
        let sent = self.budget.try_acquire_many(bytes).is_ok_and(|place| {
            place.forget();
            self.reports.try_send(report).is_ok()
        });
        if sent {
            return Ok(());
        }
        self.budget.close();
        Err(GivenUp)
    }
}

impl Report {
    fn bytes(&self) -> usize {
        let answer = match self {
            Self::Answer(_, answer) => {
                answer.json.len() + answer.attachments.iter().map(|part| part.len()).sum::<usize>()
            }
            Self::Lost => 0,
        };
        REPORT_OVERHEAD + answer
    }
}

impl Reports {
    /// The next report; `None` when no more come.
    pub(crate) async fn next(&mut self) -> Option<Report> {
        let report = self.reports.recv().await?;
        self.budget.add_permits(report.bytes());
        Some(report)
    }

    /// Whether reports are missing because they were not taken in time.
    pub(crate) fn are_overrun(&self) -> bool {
        self.budget.is_closed()
    }
}

/// Turns what the shards of this process say of a call into the caller's events.
///
/// `asked` is each shard's count; `node` the name of this node. It ends when the shards are done, or when the
/// receiver of `events` is dropped.
pub(crate) async fn follow(
    asked: Vec<oneshot::Receiver<Result<u32, TooManyCalls>>>,
    mut reports: Reports,
    node: String,
    coverage: Coverage,
    events: mpsc::Sender<CallEvent>,
) {
    let mut awaited = 0_u64;
    for asked in asked {
        // A shard that is gone has no sockets any more. None is full: the process allows no more calls in all.
        awaited += u64::from(asked.await.ok().and_then(Result::ok).unwrap_or_default());
    }
    let told = async {
        events.send(CallEvent::Asked(awaited)).await.ok()?;
        events.send(CallEvent::AllAsked).await.ok()
    };
    if told.await.is_none() {
        return;
    }
    loop {
        let report = tokio::select! {
            report = reports.next() => report,
            () = events.closed() => return,
        };
        match report {
            Some(Report::Answer(socket, arguments)) => {
                awaited = awaited.saturating_sub(1);
                let answer = CallAnswer { socket: Some(socket), node: node.clone(), arguments };
                if events.send(CallEvent::Answer(answer)).await.is_err() {
                    return;
                }
            }
            Some(Report::Lost) => awaited = awaited.saturating_sub(1),
            None => break,
        }
    }
    let end = match awaited {
        _ if reports.are_overrun() => CallEnd::Overrun,
        0 => CallEnd::All,
        _ => CallEnd::Timeout,
    };
    events.send(CallEvent::End(end, coverage)).await.ok();
}

/// The events of a call, bounded.
pub(crate) fn events() -> (mpsc::Sender<CallEvent>, mpsc::Receiver<CallEvent>) {
    mpsc::channel(EVENTS_MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(bytes: usize) -> Report {
        let json = Bytes::from(vec![b' '; bytes]);
        Report::Answer(SocketId::new("s"), Argument { json, attachments: Vec::new() })
    }

    /// The events of a call on one shard that asked `asked` sockets and then said `said`.
    async fn events_of(asked: u32, said: Vec<Report>) -> Vec<CallEvent> {
        let (reporter, reports) = reports();
        let (reply, count) = oneshot::channel();
        reply.send(Ok(asked)).expect("the receiver is here");
        for report in said {
            reporter.send(report).ok();
        }
        drop(reporter);
        let (sender, mut receiver) = events();
        tokio::spawn(follow(vec![count], reports, "7".into(), Coverage::default(), sender));
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        events
    }

    async fn end_of(asked: u32, said: Vec<Report>) -> Option<CallEvent> {
        events_of(asked, said).await.pop()
    }

    #[tokio::test]
    async fn a_call_ends_with_all_when_each_socket_has_answered_or_is_gone() {
        let said = || vec![answer(2), Report::Lost];
        assert_eq!(end_of(2, said()).await, Some(CallEvent::End(CallEnd::All, Coverage::default())));
        assert_eq!(end_of(3, said()).await, Some(CallEvent::End(CallEnd::Timeout, Coverage::default())));
        assert_eq!(end_of(0, Vec::new()).await, Some(CallEvent::End(CallEnd::All, Coverage::default())));
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_end_the_call() {
        let (reporter, mut reports) = reports();
        let portion = REPORT_BYTES_MAX / 2 - REPORT_OVERHEAD;
        assert_eq!(reporter.send(answer(portion)), Ok(()));
        assert!(reports.next().await.is_some());
        assert_eq!(reporter.send(answer(portion)), Ok(()), "what was taken makes room");
        assert_eq!(reporter.send(answer(portion)), Ok(()));
        assert!(!reports.are_overrun());
        assert_eq!(reporter.send(answer(0)), Err(GivenUp));
        assert!(reports.are_overrun());
    }
}
