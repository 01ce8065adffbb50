//! `PublishStream`: many messages on their way at once, answers in order, callers held back by a window.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use roomcast_proto::v1::{PublishStreamRequest, PublishStreamResponse, publish_stream_response::Outcome};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::auth::Caller;
use crate::config::size;
use crate::dispatch::Dispatch;
use crate::error::in_stream;
use crate::guard;
use crate::idempotency::IdempotencyKey;
use crate::publishing::Publishing;

type Answer = Result<PublishStreamResponse, Status>;

/// Publishes what `requests` brings and gives back the answers, in order.
///
/// A message is read only once there is room for its answer, and while the bytes on their way are below their
/// limit. So at most `stream_messages_max` messages are read and not answered, whether it is the dispatch that
/// is slow or the caller that takes no answers; HTTP/2 flow control then holds the sender.
///
/// The work has a task of its own because the answers are polled only while the caller takes them: publishes
/// must move on meanwhile, or one such caller would keep its places in queues that others wait for. When the
/// caller goes, the task ends and drops what is on its way.
pub(crate) fn answers<D: Dispatch>(
    service: Publishing<D>,
    caller: Option<Caller>,
    requests: Streaming<PublishStreamRequest>,
) -> ReceiverStream<Answer> {
    let (answers, taken) = mpsc::channel(size(service.config.stream_messages_max));
    tokio::spawn(run(service, caller, requests, answers));
    ReceiverStream::new(taken)
}

async fn run<D: Dispatch>(
    service: Publishing<D>,
    caller: Option<Caller>,
    mut requests: Streaming<PublishStreamRequest>,
    answers: mpsc::Sender<Answer>,
) {
    let mut stopping = service.stopping.clone();
    let bytes_max = size(service.config.stream_bytes_max);
    let mut bytes_on_their_way = 0;
    let mut on_their_way = FuturesOrdered::new();
    let mut room = None;
    let mut reading = true;
    let mut last = None;
    let mut queue = Queue::default();
    while reading || !on_their_way.is_empty() {
        tokio::select! {
            biased;
            () = answers.closed() => return,
            () = stopped(&mut stopping), if reading => {
                reading = false;
                last = Some(Status::unavailable("this server stops: send what has no answer on a new stream"));
            }
            Some((room, bytes, answer)) = on_their_way.next(), if !on_their_way.is_empty() => {
                bytes_on_their_way -= bytes;
                mpsc::Permit::send(room, Ok(answer));
            }
            free = answers.reserve(), if reading && room.is_none() => match free {
                Ok(free) => room = Some(free),
                Err(_closed) => return,
            },
            request = requests.message(), if reading && room.is_some() && bytes_on_their_way < bytes_max => {
                // A message that comes after its sender's key was taken back is not published.
                let request = caller.as_ref().map_or(Ok(()), Caller::still_good).and(request);
                match (request, room.take()) {
                    (Ok(Some(request)), Some(room)) => {
                        let bytes = message_bytes(&request);
                        bytes_on_their_way += bytes;
                        let turn = queue.turn(!request.idempotency_key.is_empty());
                        let answer = answer(&service, caller.as_ref(), request, turn);
                        on_their_way.push_back(async move { (room, bytes, answer.await) });
                    }
                    (Err(status), _) => {
                        reading = false;
                        last = Some(status);
                    }
                    _ => reading = false,
                }
            }
        }
    }
    if let Some(status) = last {
        // Fails only if the caller is gone, who then needs no reason.
        answers.send(Err(status)).await.ok();
    }
}

/// Waits until streams have to end; a server that is gone has ended them too.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    stopping.wait_for(|stopping| *stopping).await.ok();
}

async fn answer<D: Dispatch>(
    service: &Publishing<D>,
    caller: Option<&Caller>,
    request: PublishStreamRequest,
    turn: Option<Turn>,
) -> PublishStreamResponse {
    let PublishStreamRequest { sequence, message, idempotency_key, report } = request;
    let publish = async {
        let name = caller.map_or("", |caller| &caller.identity.name);
        let key = IdempotencyKey::new(name, &idempotency_key)?;
        if let (Some(caller), Some(message)) = (caller, &message) {
            guard::message(caller, message, "message")?;
            caller.spend(1)?;
        }
        let (broadcast, level) = service.check(message, report)?;
        match (key, turn) {
            (None, None) => service.deliver(broadcast, level).await,
            (None, Some(turn)) => turn.take(service.deliver(broadcast, level)).await,
            (Some(_), turn) => {
                let named = service.clone();
                let publish = async move {
                    let publish = named.deliver(broadcast, level);
                    match turn {
                        Some(turn) => turn.take(publish).await,
                        None => publish.await,
                    }
                };
                service.once(key, publish).await
            }
        }
    };
    let outcome = match service.measured(publish).await {
        Ok(published) => Outcome::Published(published),
        Err(status) => Outcome::Error(in_stream(&status)),
    };
    PublishStreamResponse { sequence, outcome: Some(outcome) }
}

/// What a message holds in memory while it is on its way, rooms left aside: their number has its own limit.
fn message_bytes(request: &PublishStreamRequest) -> usize {
    request.message.as_ref().map_or(0, |message| {
        message.arguments.len() + message.attachments.iter().map(|part| part.len()).sum::<usize>()
    })
}

/// The order of one stream where messages do not take their places at once: those with a name ask first whether
/// they are retries, and the ones behind them wait so long.
#[derive(Default)]
struct Queue {
    /// Fires, or is dropped, when the message before has taken its place or never will.
    before: Option<oneshot::Receiver<Infallible>>,
}

/// One message's place in a [`Queue`].
struct Turn {
    before: Option<oneshot::Receiver<Infallible>>,
    after: oneshot::Sender<Infallible>,
}

impl Queue {
    /// The turn of the next message; `None` if it has nothing to wait for and nobody has to wait for it.
    fn turn(&mut self, is_named: bool) -> Option<Turn> {
        let before = self
            .before
            .take_if(|before| matches!(before.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        self.before = None;
        if before.is_none() && !is_named {
            return None;
        }
        let (after, next) = oneshot::channel();
        self.before = Some(next);
        Some(Turn { before, after })
    }
}

impl Turn {
    /// Publishes once all before have taken their places; its own is taken at the first poll.
    async fn take<F: Future>(self, publish: F) -> F::Output {
        let Self { before, after } = self;
        if let Some(before) = before {
            before.await.ok();
        }
        let mut publish = pin!(publish);
        match futures_util::poll!(publish.as_mut()) {
            Poll::Ready(published) => published,
            Poll::Pending => {
                drop(after);
                publish.await
            }
        }
    }
}
