//! What the calls that publish share: checks, delivery, measuring.

use std::future::Future;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use std::vec;

use adapter::{Broadcast, Event};
use bytes::Bytes;
use futures_util::FutureExt as _;
use roomcast_proto::v1;
use telemetry::PublishMetrics;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::config::{PublishConfig, size};
use crate::convert;
use crate::dispatch::{Dispatch, ReachLater, ReportLevel};
use crate::error::{FieldFault, Rule};
use crate::id::MessageId;
use crate::idempotency::{IdempotencyKey, Remembered};
use crate::texts::Texts;
use crate::wire::{BatchRef, MessageRef, PublishRef};

/// What every call needs, in front of one [`Dispatch`].
#[derive(Clone)]
pub(crate) struct Publishing<D> {
    pub(crate) dispatch: D,
    pub(crate) config: Arc<PublishConfig>,
    pub(crate) metrics: Arc<PublishMetrics>,
    /// Publishes that have a name.
    pub(crate) remembered: Remembered,
    /// True once streams have to end.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// One message that may be published.
pub(crate) struct Checked {
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) broadcast: Broadcast,
    pub(crate) level: ReportLevel,
}

/// Messages of a batch that may be published.
pub(crate) struct CheckedBatch {
    key: Option<IdempotencyKey>,
    broadcasts: Vec<Broadcast>,
    level: ReportLevel,
}

/// What became of one message.
pub(crate) struct Published {
    pub(crate) id: MessageId,
    pub(crate) reach: Option<v1::Reach>,
}

impl From<Published> for v1::Published {
    fn from(Published { id, reach }: Published) -> Self {
        Self { message_id: id.to_string(), reach }
    }
}

impl TryFrom<v1::Published> for Published {
    type Error = Status;

    /// An answer that was kept, here or by another process of the cluster.
    fn try_from(v1::Published { message_id, reach }: v1::Published) -> Result<Self, Status> {
        let id = message_id.parse().map_err(|()| Status::internal("the answer that was kept has no id"))?;
        Ok(Self { id, reach })
    }
}

/// The answer to a batch, as callers get it and as it is kept.
pub(crate) fn batch_response(published: Vec<Published>) -> v1::PublishBatchResponse {
    v1::PublishBatchResponse { published: published.into_iter().map(Into::into).collect() }
}

impl<D: Dispatch> Publishing<D> {
    /// Counts and times the answer to one call, or to one message of a stream.
    // No `async fn`: that would hold the future twice, and futures are copied with all they hold.
    pub(crate) fn measured<T>(
        &self,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> impl Future<Output = Result<T, Status>> {
        let started = Instant::now();
        answer.inspect(move |answer| self.answered(answer, started))
    }

    /// Counts and times an answer to what began at `started`.
    pub(crate) fn answered<T>(&self, answer: &Result<T, Status>, started: Instant) {
        let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
        self.metrics.answered(code.into(), started.elapsed());
    }

    /// Publishes one message that has passed every check, under an id of its own.
    pub(crate) async fn deliver(
        &self,
        broadcast: Broadcast,
        level: ReportLevel,
    ) -> Result<Published, Status> {
        let (published, reach) = self.hand_over(broadcast, level).await?;
        let reach = match reach {
            Some(reach) => Some(convert::reach(reach.wait().await)),
            None => None,
        };
        Ok(Published { reach, ..published })
    }

    /// The same, up to where the next one may follow: what becomes of it is still to be waited for.
    async fn hand_over(
        &self,
        broadcast: Broadcast,
        level: ReportLevel,
    ) -> Result<(Published, Option<ReachLater>), Status> {
        let id = next_id();
        let receipt = self.dispatch.publish(broadcast, level).await?;
        Ok((Published { id, reach: None }, receipt.reach))
    }

    /// The same unless it has a name and was published before.
    pub(crate) async fn publish(&self, checked: Checked) -> Result<Published, Status> {
        let Checked { key, broadcast, level } = checked;
        let Some(key) = key else { return self.deliver(broadcast, level).await };
        let service = self.clone();
        let publish = async move { service.deliver(broadcast, level).await.map(v1::Published::from) };
        // In a place of its own: what it holds is large, and would be copied with every call, 9,000 instructions.
        Box::pin(self.once(key, publish)).await?.try_into()
    }

    /// Checks what `Publish` and each message of `PublishStream` share; `caller` is the name of an identity.
    #[inline]
    pub(crate) fn check(
        &self,
        caller: &str,
        request: &PublishRef<'_>,
        texts: &mut Texts,
    ) -> Result<Checked, FieldFault> {
        let key = IdempotencyKey::new(caller, request.idempotency_key)?;
        let level = convert::report(request.report)?;
        let message = request.message.as_ref().ok_or_else(|| FieldFault::new("message", Rule::Required))?;
        let broadcast =
            convert::broadcast(message, &self.config, texts).map_err(|fault| fault.within("message"))?;
        Ok(Checked { key, broadcast, level })
    }

    /// Publishes a batch in order, unless it has a name and was published before.
    pub(crate) async fn publish_batch(&self, batch: CheckedBatch) -> Result<Vec<Published>, Status> {
        let CheckedBatch { key, broadcasts, level } = batch;
        let Some(key) = key else { return self.deliver_all(broadcasts, level).await };
        let service = self.clone();
        let publish = async move { service.deliver_all(broadcasts, level).await.map(batch_response) };
        // In a place of its own, as above.
        let response = Box::pin(self.once(key, publish)).await?;
        response.published.into_iter().map(TryInto::try_into).collect()
    }

    /// Checks all messages of a batch.
    pub(crate) fn check_batch(
        &self,
        caller: &str,
        request: &BatchRef<'_>,
    ) -> Result<CheckedBatch, FieldFault> {
        let key = IdempotencyKey::new(caller, request.idempotency_key)?;
        let level = convert::report(request.report)?;
        let (count, max) = (request.messages.len(), size(self.config.batch_messages_max));
        if count == 0 {
            return Err(FieldFault::new("messages", Rule::Required));
        }
        if count > max {
            return Err(FieldFault::new("messages", Rule::TooManyEntries { count, max }));
        }
        let bytes = |message: &MessageRef<'_>| message.event.len() + message.arguments.len() + FRAMING_BYTES;
        let mut texts = Texts::of(request.messages.iter().map(bytes).sum());
        let check = |(nth, message)| {
            convert::broadcast(message, &self.config, &mut texts)
                .map_err(|fault| fault.within(&format!("messages[{nth}]")))
        };
        let broadcasts = request.messages.iter().enumerate().map(check).collect::<Result<_, _>>()?;
        Ok(CheckedBatch { key, broadcasts, level })
    }

    async fn deliver_all(
        &self,
        broadcasts: Vec<Broadcast>,
        level: ReportLevel,
    ) -> Result<Vec<Published>, Status> {
        let count = broadcasts.len();
        let mut published = Vec::with_capacity(count);
        let mut reaches = Vec::new();
        let mut left = broadcasts.into_iter();
        while left.len() > 0 {
            let part = next_part(&mut left);
            let messages = part.len();
            // Named, so that a retry can leave out what its sockets have already seen.
            let cut_short = |nth, done, status: Status| {
                let text = status.message();
                Status::new(
                    status.code(),
                    format!("messages[{nth}]: {text}; {done} of {count} were published"),
                )
            };
            let part = match level {
                ReportLevel::Accepted => match self.dispatch.publish_now(part) {
                    Ok(handed) => {
                        let done = published.len();
                        let faults = handed.faults(messages).await;
                        if let Some((nth, fault)) = faults.first() {
                            let done = done + messages - faults.len();
                            return Err(cut_short(published.len() + nth, done, fault.clone().into()));
                        }
                        let new_id = new_ids();
                        published.extend((0..messages).map(|_| Published { id: new_id(), reach: None }));
                        continue;
                    }
                    Err(part) => part,
                },
                ReportLevel::Reach => part,
            };
            for broadcast in part {
                let nth = published.len();
                let answer = self.hand_over(broadcast, level).await;
                let (answer, reach) = answer.map_err(|status| cut_short(nth, nth, status))?;
                published.push(answer);
                reaches.extend(reach);
            }
        }
        // All of them have one, or none.
        for (published, reach) in published.iter_mut().zip(reaches) {
            published.reach = Some(convert::reach(reach.wait().await));
        }
        Ok(published)
    }
}

/// What stands around the name of an event and its arguments: `["`, `",` and `]`, less the brackets of the arguments.
const FRAMING_BYTES: usize = 3;

/// Most messages that are handed over as one, and the bytes that end it: what waits in one place of a queue that
/// counts places.
pub(crate) const PART_MESSAGES_MAX: usize = 64;
pub(crate) const PART_BYTES_MAX: usize = 64 * 1024;

/// The next broadcasts to be handed over as one.
fn next_part(left: &mut vec::IntoIter<Broadcast>) -> Vec<Broadcast> {
    let mut part = Vec::with_capacity(left.len().min(PART_MESSAGES_MAX));
    let mut bytes = 0;
    while part.len() < PART_MESSAGES_MAX
        && bytes < PART_BYTES_MAX
        && let Some(broadcast) = left.next()
    {
        let Event { json, attachments } = &broadcast.event;
        bytes += json.len() + attachments.iter().map(Bytes::len).sum::<usize>();
        part.push(broadcast);
    }
    part
}

/// An id for a message published now.
pub(crate) fn next_id() -> MessageId {
    new_id(unix_ms())
}

/// Ids for messages published now, as one.
pub(crate) fn new_ids() -> impl Fn() -> MessageId {
    let unix_ms = unix_ms();
    move || new_id(unix_ms)
}

fn new_id(unix_ms: u64) -> MessageId {
    // Drawn as one number, not as ten of a byte each.
    let [random @ .., _, _, _, _, _, _] = rand::random::<u128>().to_ne_bytes();
    MessageId::new(unix_ms, random)
}

/// The edge of this crate: the one place that reads the clock.
fn unix_ms() -> u64 {
    // A clock before 1970 gives ids that sort first; they stay unique.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
