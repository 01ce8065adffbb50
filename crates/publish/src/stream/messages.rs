//! The messages of one stream: each by itself, or those that are there together as one.

use std::task::Poll;
use std::time::Instant;

use adapter::Broadcast;
use futures_util::{StreamExt as _, poll};
use roomcast_proto::v1::{
    Message, PublishStreamRequest, PublishStreamResponse, Published, publish_stream_response::Outcome,
};
use tonic::{Code, Status, Streaming};

use super::{Read, Turn};
use crate::auth::Caller;
use crate::convert;
use crate::dispatch::{Dispatch, ReportLevel};
use crate::error::in_stream;
use crate::guard;
use crate::idempotency::IdempotencyKey;
use crate::publishing::{PART_BYTES_MAX, PART_MESSAGES_MAX, Publishing, accepted, new_ids};

/// A message on its way to its answer.
pub(super) enum StreamMessage {
    /// As it was read, with its turn if it has to wait for others or they for it.
    Asked(PublishStreamRequest, Option<Turn>),
    /// To be published, without a report.
    Checked { sequence: u64, bytes: usize, broadcast: Broadcast },
    /// Done.
    Answered(PublishStreamResponse),
}

impl StreamMessage {
    /// What it holds in memory while it is on its way.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Asked(request, _) => message_bytes(request),
            Self::Checked { bytes, .. } => *bytes,
            Self::Answered(_) => 0,
        }
    }

    /// Publishes it unless it is done, and waits for what comes of it.
    pub(super) async fn answer<D: Dispatch>(
        self,
        service: &Publishing<D>,
        caller: Option<&Caller>,
    ) -> PublishStreamResponse {
        match self {
            Self::Asked(request, turn) => {
                let (sequence, publish) = (request.sequence, publish(service, caller, request, turn));
                answer(sequence, service.measured(publish).await)
            }
            Self::Checked { sequence, broadcast, .. } => {
                let publish = service.deliver(broadcast, ReportLevel::Accepted);
                answer(sequence, service.measured(publish).await)
            }
            Self::Answered(answer) => answer,
        }
    }
}

fn answer(sequence: u64, published: Result<Published, Status>) -> PublishStreamResponse {
    let outcome = match published {
        Ok(published) => Outcome::Published(published),
        Err(status) => Outcome::Error(in_stream(&status)),
    };
    PublishStreamResponse { sequence, outcome: Some(outcome) }
}

async fn publish<D: Dispatch>(
    service: &Publishing<D>,
    caller: Option<&Caller>,
    request: PublishStreamRequest,
    turn: Option<Turn>,
) -> Result<Published, Status> {
    let PublishStreamRequest { sequence: _, message, idempotency_key, report } = request;
    let name = caller.map_or("", |caller| &caller.identity.name);
    let key = IdempotencyKey::new(name, &idempotency_key)?;
    let (broadcast, level) = check(service, caller, message, report)?;
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
            // In a place of its own: what it holds is large, and would be copied with messages without a name,
            // 126,000 instructions each.
            Box::pin(service.once(key, publish)).await
        }
    }
}

fn check<D: Dispatch>(
    service: &Publishing<D>,
    caller: Option<&Caller>,
    message: Option<Message>,
    report: i32,
) -> Result<(Broadcast, ReportLevel), Status> {
    if let (Some(caller), Some(message)) = (caller, &message) {
        guard::message(caller, message, "message")?;
        caller.spend(1)?;
    }
    Ok(service.check(message, report)?)
}

/// Whether a message may be handed over together with others: it has no name, and no report is asked for.
pub(super) fn is_plain(request: &PublishStreamRequest) -> bool {
    request.idempotency_key.is_empty() && matches!(convert::report(request.report), Ok(ReportLevel::Accepted))
}

/// Reads what is there behind `first` and is plain, without waiting. What is read and not plain is left in `ahead`.
pub(super) async fn read(
    requests: &mut Streaming<PublishStreamRequest>,
    first: PublishStreamRequest,
    messages_max: usize,
    bytes_max: usize,
    ahead: &mut Option<Read>,
) -> Vec<PublishStreamRequest> {
    let messages_max = messages_max.min(PART_MESSAGES_MAX);
    let bytes_max = bytes_max.min(PART_BYTES_MAX);
    let mut bytes = message_bytes(&first);
    let mut read = Vec::with_capacity(messages_max);
    read.push(first);
    while ahead.is_none() && read.len() < messages_max && bytes < bytes_max {
        match poll!(requests.next()) {
            Poll::Pending => break,
            Poll::Ready(Some(Ok(request))) if is_plain(&request) => {
                bytes += message_bytes(&request);
                read.push(request);
            }
            Poll::Ready(other) => *ahead = Some(other.transpose()),
        }
    }
    read
}

/// Checks plain messages and hands them over as one. If that would need waiting, those without a fault are left to
/// be published one by one.
pub(super) fn publish_now<D: Dispatch>(
    service: &Publishing<D>,
    caller: Option<&Caller>,
    requests: Vec<PublishStreamRequest>,
) -> Vec<StreamMessage> {
    let started = Instant::now();
    let mut broadcasts = Vec::with_capacity(requests.len());
    let mut checked = Vec::with_capacity(requests.len());
    for request in requests {
        let (sequence, bytes) = (request.sequence, message_bytes(&request));
        let fault = match check(service, caller, request.message, request.report) {
            Ok((broadcast, _)) => {
                broadcasts.push(broadcast);
                None
            }
            Err(status) => {
                service.metrics.answered(status.code().into(), started.elapsed());
                Some(status)
            }
        };
        checked.push((sequence, bytes, fault));
    }
    let messages = broadcasts.len();
    let kept = if messages == 0 { Ok(()) } else { service.dispatch.publish_now(broadcasts) };
    if kept.is_ok() && messages > 0 {
        service.metrics.all_answered(Code::Ok.into(), started.elapsed(), messages);
    }
    let mut kept = kept.err().unwrap_or_default().into_iter();
    let mut ids = new_ids();
    let message = |(sequence, bytes, fault)| {
        if let Some(status) = fault {
            return StreamMessage::Answered(answer(sequence, Err(status)));
        }
        match kept.next() {
            Some(broadcast) => StreamMessage::Checked { sequence, bytes, broadcast },
            // None are kept: it is on its way.
            None => {
                let published = ids.next().map(accepted).unwrap_or_default();
                StreamMessage::Answered(answer(sequence, Ok(published)))
            }
        }
    };
    checked.into_iter().map(message).collect()
}

/// What a message holds in memory while it is on its way, rooms left aside: their number has its own limit.
fn message_bytes(request: &PublishStreamRequest) -> usize {
    request.message.as_ref().map_or(0, |message| {
        message.arguments.len() + message.attachments.iter().map(|part| part.len()).sum::<usize>()
    })
}
