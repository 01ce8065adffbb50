//! `PublishStream`: many messages on their way at once, answers in order, callers held back by a window.

mod answers;
mod order;
mod requests;
mod work;

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use h2::RecvStream;
use h2::server::SendResponse;
use tokio::sync::watch;
use tonic::codegen::http::Request;
use tonic::{Code, Status};

use self::answers::{Answers, Gone};
use self::order::Queue;
use self::requests::Requests;
use self::work::{Done, Run, Work};
use crate::auth::Caller;
use crate::config::size;
use crate::connection::{Services, head, open, refusal, trailers};
use crate::dispatch::{Dispatch, HandedOver};
use crate::front::Certificates;
use crate::guard::Guarded;
use crate::publishing::{PART_BYTES_MAX, PART_MESSAGES_MAX};

pub(crate) use answers::send_all;

/// Publishes what a caller sends on one stream, and answers in order.
pub(crate) async fn publish_stream<D: Dispatch>(
    services: Arc<Services<D>>,
    certificates: Certificates,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let opened = async {
        let (caller, frames) = open(&services, &certificates, request).await?;
        let in_flight = services.publisher.admit_stream(caller.as_ref())?;
        Ok((caller, frames, in_flight))
    };
    // What fails from here on fails because the caller is gone.
    let (caller, frames, _in_flight) = match opened.await {
        Ok(opened) => opened,
        Err(status) => return drop(respond.send_response(refusal(&status), true)),
    };
    let Ok(stream) = respond.send_response(head(), false) else { return };
    let mut answers = Answers::new(stream);
    let running = Running {
        service: &services.publisher,
        caller: caller.as_ref(),
        requests: Requests::new(frames),
        messages_max: size(services.publisher.0.config.stream_messages_max),
        bytes_max: size(services.publisher.0.config.stream_bytes_max),
    };
    match running.run(&mut answers, services.stopping.clone()).await {
        Ok(None) => drop(answers.end(trailers(Code::Ok))),
        Ok(Some(status)) => drop(answers.end(refusal(&status).into_parts().0.headers)),
        Err(Gone) => {}
    }
}

/// A stream that is served.
struct Running<'a, D: Dispatch> {
    service: &'a Guarded<D>,
    caller: Option<&'a Caller>,
    requests: Requests,
    messages_max: usize,
    bytes_max: usize,
}

impl<D: Dispatch> Running<'_, D> {
    /// Serves the stream; gives why it is not read to its end, if it is not.
    ///
    /// A message is read only while there is room for its answer, and while the bytes on their way are below their
    /// limit. So at most `stream_messages_max` messages are read and not answered, whether it is the dispatch that
    /// is slow or the caller that takes no answers; HTTP/2 flow control then holds the sender.
    ///
    /// Messages that are there already are handed over as one if that needs no waiting and all before them have
    /// their places: with 64 in flight one costs 6,900 instructions, and alone 26,500.
    async fn run(
        mut self,
        answers: &mut Answers,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<Option<Status>, Gone> {
        // A server that is gone has ended its streams too.
        let mut stopped = pin!(async move { stopping.wait_for(|stopping| *stopping).await.is_ok() });
        let mut on_their_way = FuturesOrdered::new();
        let mut sum = Done::default();
        let mut queue = Queue::default();
        let mut reading = true;
        let mut end = None;
        while reading || sum.messages > 0 || answers.waiting() > 0 {
            let room = self.messages_max.saturating_sub(sum.messages + answers.waiting());
            let bytes = self.bytes_max.saturating_sub(sum.bytes);
            tokio::select! {
                biased;
                _ = &mut stopped, if reading => {
                    reading = false;
                    let text = "this server stops: send what has no answer on a new stream";
                    end = Some(Status::unavailable(text));
                }
                Some((done, encoded)) = on_their_way.next(), if sum.messages > 0 => {
                    sum -= done;
                    answers.push(&encoded, done.messages);
                }
                request = self.requests.next(self.service, self.caller), if reading && room > 0 && bytes > 0 => {
                    let request = match request {
                        Ok(Some(request)) => request,
                        ended => {
                            reading = false;
                            end = ended.err();
                            continue;
                        }
                    };
                    let works = if sum.alone == 0 && request.is_plain() {
                        let room = room.min(PART_MESSAGES_MAX);
                        let bytes = bytes.min(PART_BYTES_MAX);
                        let mut run = Run::new(request, room);
                        self.requests.fill(self.service, self.caller, &mut run, (room, bytes)).await;
                        match run.hand_over(self.service) {
                            Ok((run, HandedOver::Done)) if sum.messages == 0 => {
                                let messages = run.len();
                                run.answer(self.service, answers.encoded(messages), &[]);
                                continue;
                            }
                            Ok((run, handed)) => vec![Work::Run(run, handed)],
                            Err(alone) => alone,
                        }
                    } else {
                        vec![Work::Alone(request, None)]
                    };
                    for work in works {
                        let work = work.in_order(&mut queue);
                        let done = work.done();
                        sum += done;
                        let service = self.service;
                        on_their_way.push_back(async move { (done, work.finish(service).await) });
                    }
                }
                // Last, so that what is there to be read is answered in as few frames as may be.
                sent = answers.send() => sent?,
            }
        }
        Ok(end)
    }
}
