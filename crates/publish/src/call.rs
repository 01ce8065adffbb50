//! `Call`: an event whose acknowledgements are collected and streamed as they arrive.

use std::time::Duration;

use adapter::Broadcast;
use roomcast_proto::v1;
use roomcast_proto::v1::call_request::Quorum;
use roomcast_proto::v1::call_response::Part;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::convert;
use crate::dispatch::{CallAnswer, CallEnd, CallEvent, Coverage, Dispatch};
use crate::error::{FieldFault, Rule};
use crate::operations::timeout;
use crate::publishing::{Publishing, next_id};
use crate::texts::Texts;

/// Responses that wait for the caller to take them; behind them the dispatch keeps what it can.
const RESPONSES_MAX: usize = 64;

/// What a share times a number of sockets may be off by, as a product of floating-point numbers.
const ROUNDING: f64 = 1e-9;

type Responses = ReceiverStream<Result<v1::CallResponse, Status>>;

/// When a call ends before all have answered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum EndsAt {
    /// Not.
    All,
    /// At so many answers.
    Answers(u64),
    /// At this share of the sockets asked.
    Share(f64),
}

/// A call on its way.
struct Running {
    message_id: String,
    ends_at: EndsAt,
    asked: u64,
    answered: u64,
    /// Whether `asked` is final.
    all_asked: bool,
}

impl<D: Dispatch> Publishing<D> {
    pub(crate) async fn call(&self, request: v1::CallRequest) -> Result<Responses, Status> {
        let (broadcast, timeout, ends_at) = self.check_call(request)?;
        let message_id = next_id().to_string();
        let events = self.dispatch.call(broadcast, timeout).await?;
        let (responses, taken) = mpsc::channel(RESPONSES_MAX);
        let running = Running { message_id, ends_at, asked: 0, answered: 0, all_asked: false };
        tokio::spawn(running.relay(events, responses));
        Ok(ReceiverStream::new(taken))
    }

    fn check_call(&self, request: v1::CallRequest) -> Result<(Broadcast, Duration, EndsAt), FieldFault> {
        let v1::CallRequest { message, timeout_ms, quorum } = request;
        let message = message.ok_or_else(|| FieldFault::new("message", Rule::Required))?;
        let broadcast = convert::broadcast(&(&message).into(), &self.config, &mut Texts::default())
            .map_err(|fault| fault.within("message"))?;
        Ok((broadcast, timeout(timeout_ms)?, ends_at(quorum)?))
    }
}

fn ends_at(quorum: Option<Quorum>) -> Result<EndsAt, FieldFault> {
    match quorum {
        None => Ok(EndsAt::All),
        Some(Quorum::QuorumAnswers(0)) => Err(FieldFault::new("quorum_answers", Rule::Zero)),
        Some(Quorum::QuorumAnswers(answers)) => Ok(EndsAt::Answers(answers)),
        Some(Quorum::QuorumShare(share)) if share > 0.0 && share <= 1.0 => Ok(EndsAt::Share(share)),
        Some(Quorum::QuorumShare(_)) => Err(FieldFault::new("quorum_share", Rule::NotAShare)),
    }
}

impl Running {
    /// Passes answers on until the call is over. When the caller goes, so does `events`, which ends it.
    async fn relay(
        mut self,
        mut events: mpsc::Receiver<CallEvent>,
        responses: mpsc::Sender<Result<v1::CallResponse, Status>>,
    ) {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = responses.closed() => return,
            };
            let last = match event {
                Some(CallEvent::Asked(sockets)) => {
                    self.asked += sockets;
                    continue;
                }
                Some(CallEvent::AllAsked) => {
                    self.all_asked = true;
                    None
                }
                Some(CallEvent::Answer(answer)) => {
                    self.answered += 1;
                    let part = Part::Answer(client_answer(answer));
                    if responses.send(Ok(v1::CallResponse { part: Some(part) })).await.is_err() {
                        return;
                    }
                    None
                }
                Some(CallEvent::End(end, coverage)) => Some(self.ended(end, coverage)),
                None => Some(Err(Status::unavailable("this gateway is shutting down"))),
            };
            let last =
                last.or_else(|| self.has_quorum().then(|| Ok(self.summary(v1::CallEnd::Quorum, None))));
            if let Some(last) = last {
                // Fails only if the caller is gone, who then needs no summary.
                responses.send(last).await.ok();
                return;
            }
        }
    }

    fn has_quorum(&self) -> bool {
        match self.ends_at {
            EndsAt::All => false,
            EndsAt::Answers(answers) => self.answered >= answers,
            // Of nobody, no share can be reached: the dispatch says that all have answered.
            EndsAt::Share(share) => {
                self.all_asked && self.asked > 0 && self.answered >= share_of(share, self.asked)
            }
        }
    }

    fn ended(&self, end: CallEnd, coverage: Coverage) -> Result<v1::CallResponse, Status> {
        let end = match end {
            CallEnd::All => v1::CallEnd::All,
            CallEnd::Timeout => v1::CallEnd::Timeout,
            CallEnd::Overrun => {
                return Err(Status::resource_exhausted(format!(
                    "answers came faster than they were taken: {} of {} sockets were heard",
                    self.answered, self.asked
                )));
            }
        };
        Ok(self.summary(end, Some(coverage)))
    }

    fn summary(&self, end: v1::CallEnd, coverage: Option<Coverage>) -> v1::CallResponse {
        let summary = v1::CallSummary {
            end: end.into(),
            message_id: self.message_id.clone(),
            sockets_asked: self.asked,
            sockets_answered: self.answered,
            coverage: coverage.map(convert::coverage),
        };
        v1::CallResponse { part: Some(Part::Summary(summary)) }
    }
}

/// How many of `asked` make up `share`, rounded up.
fn share_of(share: f64, asked: u64) -> u64 {
    // Both casts are of numbers far below 2^53.
    (share * asked as f64 - ROUNDING).ceil().max(1.0) as u64
}

fn client_answer(answer: CallAnswer) -> v1::CallAnswer {
    let CallAnswer { socket, node, arguments } = answer;
    v1::CallAnswer {
        socket_id: socket.map(|socket| socket.as_str().to_owned()).unwrap_or_default(),
        node,
        arguments: String::from_utf8_lossy(&arguments.json).into_owned(),
        attachments: arguments.attachments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up_and_not_by_the_error_of_a_product() {
        for (share, asked, expected) in [(0.5, 3, 2), (0.1, 30, 3), (1.0, 7, 7), (0.001, 10, 1), (0.34, 3, 2)]
        {
            assert_eq!(share_of(share, asked), expected, "{share} of {asked}");
        }
    }

    #[test]
    fn a_quorum_is_a_number_from_1_or_a_share_above_0_up_to_1() {
        assert_eq!(ends_at(None), Ok(EndsAt::All));
        assert_eq!(ends_at(Some(Quorum::QuorumShare(1.0))), Ok(EndsAt::Share(1.0)));
        for share in [0.0, -0.5, 1.01, f64::NAN, f64::INFINITY] {
            assert!(ends_at(Some(Quorum::QuorumShare(share))).is_err(), "{share}");
        }
        let fault = ends_at(Some(Quorum::QuorumAnswers(0))).unwrap_err();
        assert_eq!(fault.to_string(), "quorum_answers: is 0, at least 1 is required");
    }
}
