//! What is done with messages that were read: each by itself, or those that were there together as one.

use std::ops::{AddAssign, SubAssign};
use std::time::Instant;

use adapter::Broadcast;
use bytes::BytesMut;
use roomcast_proto::v1::publish_stream_response::Outcome;
use roomcast_proto::v1::{self, PublishStreamResponse};
use tonic::{Code, Status};

use super::order::{Queue, Turn};
use super::requests::Streamed;
use crate::dispatch::{Dispatch, HandedOver, ReportLevel, Unavailable};
use crate::error::in_stream;
use crate::guard::Guarded;
use crate::publishing::{Checked, Published, new_ids};
use crate::wire;

/// How much of a stream something is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// Messages that may still have to take their places.
    pub(super) alone: usize,
}

impl AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.alone += other.alone;
    }
}

impl SubAssign for Done {
    fn sub_assign(&mut self, other: Self) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
        self.alone -= other.alone;
    }
}

/// Messages on their way to their answers.
pub(super) enum Work {
    /// One that is to be published or only answered, with its turn if it has to wait for others or they for it.
    Alone(Streamed, Option<Turn>),
    /// Several that were handed over.
    Run(Run, HandedOver),
}

impl Work {
    pub(super) fn in_order(self, queue: &mut Queue) -> Self {
        match self {
            Self::Alone(request, None) => {
                let is_named = request.checked.as_ref().is_ok_and(|checked| checked.key.is_some());
                let turn = queue.turn(is_named);
                Self::Alone(request, turn)
            }
            other => other,
        }
    }

    pub(super) fn done(&self) -> Done {
        match self {
            Self::Alone(request, _) => Done { messages: 1, bytes: request.bytes, alone: 1 },
            Self::Run(run, _) => Done { messages: run.len(), bytes: run.bytes, alone: 0 },
        }
    }

    /// Waits for what comes of it, and gives the answers as they are sent.
    pub(super) async fn finish<D: Dispatch>(self, service: &Guarded<D>) -> BytesMut {
        let mut out = BytesMut::new();
        match self {
            Self::Alone(Streamed { sequence, checked, .. }, turn) => {
                let publish = async { publish(service, checked?, turn).await };
                match service.0.measured(publish).await {
                    Ok(Published { id, reach: None }) => {
                        wire::publish_stream_accepted(&mut out, sequence, id)
                    }
                    Ok(published) => {
                        let outcome = Some(Outcome::Published(published.into()));
                        wire::publish_stream_response(&mut out, &PublishStreamResponse { sequence, outcome });
                    }
                    Err(status) => refuse(&mut out, sequence, &status),
                }
            }
            Self::Run(run, handed) => {
                let faults = handed.faults(run.len()).await;
                run.answer(service, &mut out, &faults);
            }
        }
        out
    }
}

fn refuse(out: &mut BytesMut, sequence: u64, status: &Status) {
    let outcome = Some(Outcome::Error(in_stream(status)));
    wire::publish_stream_response(out, &PublishStreamResponse { sequence, outcome });
}

async fn publish<D: Dispatch>(
    service: &Guarded<D>,
    checked: Checked,
    turn: Option<Turn>,
) -> Result<Published, Status> {
    let Checked { key, broadcast, level } = checked;
    match (key, turn) {
        (None, None) => service.0.deliver(broadcast, level).await,
        (None, Some(turn)) => turn.take(service.0.deliver(broadcast, level)).await,
        (Some(key), turn) => {
            let named = service.0.clone();
            let publish = async move {
                let publish = named.deliver(broadcast, level);
                let published = match turn {
                    Some(turn) => turn.take(publish).await,
                    None => publish.await,
                };
                published.map(v1::Published::from)
            };
            // In a place of its own: what it holds is large, and would be copied with messages without a name,
            // 126,000 instructions each.
            Box::pin(service.0.once(key, publish)).await?.try_into()
        }
    }
}

/// Plain messages that were there together, in their order.
pub(super) struct Run {
    /// Of each the number, the bytes, and what is wrong with it.
    messages: Vec<(u64, usize, Option<Status>)>,
    /// Those with which nothing is wrong.
    broadcasts: Vec<Broadcast>,
    bytes: usize,
    started: Instant,
}

impl Run {
    pub(super) fn new(first: Streamed, capacity: usize) -> Self {
        let mut run = Self {
            messages: Vec::with_capacity(capacity),
            broadcasts: Vec::with_capacity(capacity),
            bytes: 0,
            started: Instant::now(),
        };
        run.push(first);
        run
    }

    pub(super) fn push(&mut self, request: Streamed) {
        self.bytes += request.bytes;
        let fault = match request.checked {
            Ok(checked) => {
                self.broadcasts.push(checked.broadcast);
                None
            }
            Err(status) => Some(status),
        };
        self.messages.push((request.sequence, request.bytes, fault));
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands the messages over as one. If that would need waiting, each is left to be published alone.
    pub(super) fn hand_over<D: Dispatch>(
        mut self,
        service: &Guarded<D>,
    ) -> Result<(Self, HandedOver), Vec<Work>> {
        let broadcasts = std::mem::take(&mut self.broadcasts);
        if broadcasts.is_empty() {
            return Ok((self, HandedOver::Done));
        }
        match service.0.dispatch.publish_now(broadcasts) {
            Ok(handed) => Ok((self, handed)),
            Err(broadcasts) => {
                let mut broadcasts = broadcasts.into_iter();
                let alone = |(sequence, bytes, fault)| {
                    let checked = match fault {
                        Some(status) => Err(status),
                        None => {
                            let broadcast = broadcasts.next();
                            let checked = broadcast.map(|broadcast| Checked {
                                key: None,
                                broadcast,
                                level: ReportLevel::Accepted,
                            });
                            // As many are given back as were handed over.
                            checked.ok_or_else(|| Status::internal("a message was lost on its way"))
                        }
                    };
                    Work::Alone(Streamed { sequence, bytes, checked }, None)
                };
                Err(self.messages.into_iter().map(alone).collect())
            }
        }
    }

    /// Writes the answers; `faults` name those that were handed over and came to nothing, by their number among
    /// those, in order.
    pub(super) fn answer<D: Dispatch>(
        self,
        service: &Guarded<D>,
        out: &mut BytesMut,
        faults: &[(usize, Unavailable)],
    ) {
        let elapsed = self.started.elapsed();
        let mut faults = faults.iter().peekable();
        let (mut handed, mut published) = (0, 0);
        let new_id = new_ids();
        for (sequence, _, fault) in self.messages {
            let fault = fault.or_else(|| {
                let fault = faults.next_if(|(nth, _)| *nth == handed);
                handed += 1;
                fault.map(|(_, unavailable)| unavailable.clone().into())
            });
            match fault {
                None => {
                    published += 1;
                    wire::publish_stream_accepted(out, sequence, new_id());
                }
                Some(status) => {
                    service.0.metrics.answered(status.code().into(), elapsed);
                    refuse(out, sequence, &status);
                }
            }
        }
        if published > 0 {
            service.0.metrics.all_answered(Code::Ok.into(), elapsed, published);
        }
    }
}
