//! `PublishStream`: many messages on their way at once, answers in order, callers held back by a window.

mod messages;

use std::convert::Infallible;
use std::future::Future;
use std::iter;
use std::pin::pin;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use roomcast_proto::v1::{PublishStreamRequest, PublishStreamResponse};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::auth::Caller;
use crate::config::size;
use crate::dispatch::Dispatch;
use crate::publishing::Publishing;
use messages::StreamMessage;

type Answer = Result<PublishStreamResponse, Status>;
/// What reading brings; `None` at the end.
type Read = Result<Option<PublishStreamRequest>, Status>;

/// Publishes what `requests` brings and gives back the answers, in order.
///
/// A message is read only once there is room for its answer, and while the bytes on their way are below their
/// limit. So at most `stream_messages_max` messages are read and not answered, whether it is the dispatch that
/// is slow or the caller that takes no answers; HTTP/2 flow control then holds the sender.
///
/// Messages that are there already are handed over as one if that needs no waiting and all before them are
/// answered: with 64 in flight one costs 12,700 instructions, and alone 31,700.
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
    // What was read behind messages that were handed over as one, and did not belong to them.
    let mut ahead = None;
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
            request = next(&mut ahead, &mut requests),
                if reading && room.is_some() && bytes_on_their_way < bytes_max =>
            {
                // A message that comes after its sender's key was taken back is not published.
                let request = caller.as_ref().map_or(Ok(()), Caller::still_good).and(request);
                let (request, first_room) = match (request, room.take()) {
                    (Ok(Some(request)), Some(room)) => (request, room),
                    (request, _) => {
                        reading = false;
                        last = request.err();
                        continue;
                    }
                };
                let messages = if on_their_way.is_empty() && messages::is_plain(&request) {
                    let messages_max = answers.capacity() + 1;
                    let read = messages::read(&mut requests, request, messages_max, bytes_max, &mut ahead).await;
                    messages::publish_now(&service, caller.as_ref(), read)
                } else {
                    let turn = queue.turn(!request.idempotency_key.is_empty());
                    vec![StreamMessage::Asked(request, turn)]
                };
                // There is room for all that were read: nobody else answers this caller.
                let rooms = iter::once(first_room).chain(iter::from_fn(|| answers.try_reserve().ok()));
                for (message, room) in messages.into_iter().zip(rooms) {
                    match message {
                        StreamMessage::Answered(answer) if on_their_way.is_empty() => room.send(Ok(answer)),
                        message => {
                            let bytes = message.bytes();
                            bytes_on_their_way += bytes;
                            let answer = message.answer(&service, caller.as_ref());
                            on_their_way.push_back(async move { (room, bytes, answer.await) });
                        }
                    }
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

/// What was read ahead, and then what comes. Dropped before it is ready, it has taken nothing.
async fn next(ahead: &mut Option<Read>, requests: &mut Streaming<PublishStreamRequest>) -> Read {
    match ahead.take() {
        Some(read) => read,
        None => requests.message().await,
    }
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
