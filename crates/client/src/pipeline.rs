//! Messages on their way over one `PublishStream`: handed over in order, answered in order, sent again in order when
//! the connection is lost.
//!
//! ```text
//!  send() ── places ──▶ jobs ──▶ unanswered ──▶ session (one stream of gRPC)
//!              ▲                     │ ▲               │
//!              └────── answered ◀────┘ └── lost, again ┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use roomcast_proto::v1::publish_stream_response::Outcome;
use roomcast_proto::v1::publisher_client::PublisherClient;
use roomcast_proto::v1::{PublishStreamRequest, PublishStreamResponse, Published};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::connection::{Connection, Endpoint, failure};
use crate::error::{Error, is_lost, is_refused};

/// Messages that may wait for their answer, unless the builder says otherwise: as many as a server reads ahead.
pub(crate) const WINDOW_DEFAULT: usize = 256;

/// Bytes of the messages that wait for their answer; one larger message waits until it is alone.
const WINDOW_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Messages between the window and the connection.
const HANDED_OVER_MAX: usize = 32;

/// How long a stream without messages is kept open.
const IDLE: Duration = Duration::from_secs(30);

/// One message and where its answer goes.
struct Job {
    request: PublishStreamRequest,
    deadline: Instant,
    answer: oneshot::Sender<Result<Published, Error>>,
    _places: [OwnedSemaphorePermit; 2],
}

/// Where messages go in.
#[derive(Debug)]
pub(crate) struct Pipeline {
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    time: Duration,
}

/// The answer to one message, on its way.
#[derive(Debug)]
pub(crate) struct Answer {
    answer: oneshot::Receiver<Result<Published, Error>>,
    deadline: Instant,
    time: Duration,
}

impl Answer {
    pub(crate) async fn wait(self) -> Result<Published, Error> {
        let Self { answer, deadline, time } = self;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(stopped()),
            Err(_elapsed) => {
                Err(Error::DeadlineExceeded(format!("the stream brought no answer within {time:?}")))
            }
        }
    }
}

fn stopped() -> Error {
    Error::Unavailable("the runtime that the stream was made on has ended".into())
}

impl Pipeline {
    /// Starts the task that moves messages; it ends with the pipeline, once all have their answer.
    pub(crate) fn start(connection: Arc<Connection>, window: usize) -> Self {
        let (jobs, queue) = mpsc::channel(window.max(1));
        let time = connection.deadline;
        tokio::spawn(run(connection, queue));
        let places = Arc::new(Semaphore::new(window.max(1)));
        Self { jobs, places, bytes: Arc::new(Semaphore::new(WINDOW_BYTES_MAX)), time }
    }

    /// Waits for a place in the window, then queues the message; its time begins now.
    pub(crate) async fn send(&self, request: PublishStreamRequest) -> Result<Answer, Error> {
        let deadline = Instant::now() + self.time;
        let bytes = u32::try_from(bytes(&request).clamp(1, WINDOW_BYTES_MAX)).unwrap_or(u32::MAX);
        let places = async {
            let place = self.places.clone().acquire_owned().await;
            Ok::<_, tokio::sync::AcquireError>([place?, self.bytes.clone().acquire_many_owned(bytes).await?])
        };
        let places = match timeout_at(deadline, places).await {
            // Nobody closes the semaphores.
            Ok(places) => places.map_err(|_closed| stopped())?,
            Err(_elapsed) => {
                let text = format!("the messages before this one had no answer within {:?}", self.time);
                return Err(Error::DeadlineExceeded(text));
            }
        };
        let (sender, answer) = oneshot::channel();
        let job = Job { request, deadline, answer: sender, _places: places };
        self.jobs.send(job).await.map_err(|_closed| stopped())?;
        Ok(Answer { answer, deadline, time: self.time })
    }
}

/// What a message holds in memory, about.
fn bytes(request: &PublishStreamRequest) -> usize {
    request.message.as_ref().map_or(0, |message| {
        message.arguments.len() + message.attachments.iter().map(|part| part.len()).sum::<usize>()
    })
}

/// Why a session ended.
enum End {
    /// The pipeline is gone and everything is answered.
    Done,
    /// There was nothing to do.
    Idle,
    /// What is unanswered may be sent again. Whether the session brought any answer, and why it ended.
    Again(bool, Status),
    /// What is unanswered fails.
    Failed(Error),
}

async fn run(connection: Arc<Connection>, mut jobs: mpsc::Receiver<Job>) {
    let mut unanswered = VecDeque::new();
    let mut tried = 0;
    loop {
        // Nobody waits any more for those whose time is over.
        unanswered.retain(|job: &Job| !job.answer.is_closed() && Instant::now() < job.deadline);
        if unanswered.is_empty() {
            match jobs.recv().await {
                Some(job) => unanswered.push_back(job),
                None => return,
            }
        }
        let (place, endpoint) = connection.current();
        let error = match session(&connection, endpoint, &mut jobs, &mut unanswered).await {
            End::Done => return,
            End::Idle => {
                tried = 0;
                continue;
            }
            End::Failed(error) => error,
            End::Again(progress, status) => {
                connection.failed(place);
                tried = if progress { 0 } else { tried };
                match connection.retries.as_ref().and_then(|retries| retries.pause(tried)) {
                    Some(pause) => {
                        tried = tried.saturating_add(1);
                        sleep(pause).await;
                        continue;
                    }
                    None => failure(endpoint, status, tried),
                }
            }
        };
        tried = 0;
        for job in unanswered.drain(..) {
            // Fails if the caller does not wait any more.
            job.answer.send(Err(error.clone())).ok();
        }
    }
}

/// One stream of gRPC, from its opening to its end.
async fn session(
    connection: &Connection,
    endpoint: &Endpoint,
    jobs: &mut mpsc::Receiver<Job>,
    unanswered: &mut VecDeque<Job>,
) -> End {
    let (handed_over, requests) = mpsc::channel(HANDED_OVER_MAX);
    let mut answers = match open(connection, endpoint, requests).await {
        Ok(answers) => answers,
        Err(end) => return end,
    };
    // How many of `unanswered`, from the front, this session has handed over, and the number of the front one.
    let (mut sent, mut front) = (0, 0_u64);
    let mut open = true;
    loop {
        if !open && unanswered.is_empty() {
            return End::Done;
        }
        tokio::select! {
            biased;
            answer = answers.message() => {
                let progress = front > 0;
                match answer {
                    Ok(Some(answer)) if answer.sequence == front && sent > 0 => {
                        if let Some(end) = take(connection, answer, unanswered) {
                            return end(progress);
                        }
                        front += 1;
                        sent -= 1;
                    }
                    Ok(Some(_)) => return End::Failed(Error::protocol("the stream's answers are out of order")),
                    Ok(None) => return End::Again(progress, Status::unavailable("the server ended the stream")),
                    // Credentials that were good at first have run out: a new stream gets new ones.
                    Err(status) if progress && status.code() == Code::Unauthenticated => {
                        return End::Again(progress, status);
                    }
                    Err(status) => return ended(endpoint, progress, status),
                }
            }
            Ok(room) = handed_over.reserve(), if sent < unanswered.len() => {
                let Some(job) = unanswered.get(sent) else { continue };
                let sequence = front + u64::try_from(sent).unwrap_or(u64::MAX);
                room.send(PublishStreamRequest { sequence, ..job.request.clone() });
                sent += 1;
            }
            job = jobs.recv(), if open => match job {
                Some(job) => unanswered.push_back(job),
                None => open = false,
            },
            () = sleep(IDLE), if unanswered.is_empty() => return End::Idle,
        }
    }
}

async fn open(
    connection: &Connection,
    endpoint: &Endpoint,
    requests: mpsc::Receiver<PublishStreamRequest>,
) -> Result<Streaming<PublishStreamResponse>, End> {
    let request = connection.request(ReceiverStream::new(requests)).await.map_err(End::Failed)?;
    let mut client = PublisherClient::new(endpoint.channel.clone());
    match timeout(connection.deadline, client.publish_stream(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(ended(endpoint, false, status)),
        Err(_elapsed) => {
            let text = format!("the stream did not open within {:?}", connection.deadline);
            Err(End::Again(false, Status::unavailable(text)))
        }
    }
}

fn ended(endpoint: &Endpoint, progress: bool, status: Status) -> End {
    if is_lost(&status) || is_refused(&status) {
        End::Again(progress, status)
    } else {
        End::Failed(failure(endpoint, status, 0))
    }
}

/// Gives the first message its answer; or says how the session ends, and the message stays the first.
fn take(
    connection: &Connection,
    answer: PublishStreamResponse,
    unanswered: &mut VecDeque<Job>,
) -> Option<impl FnOnce(bool) -> End + use<>> {
    let outcome = match answer.outcome {
        Some(Outcome::Published(published)) => Ok(published),
        // Not published. A new stream begins with it, so that it stays before those behind it, as far as the server
        // has not published them.
        Some(Outcome::Error(error)) if connection.retries.is_some() && is_unavailable(&error) => {
            let status = Status::unavailable(error.message);
            return Some(move |progress| End::Again(progress, status));
        }
        Some(Outcome::Error(error)) => Err(error.into()),
        None => Err(Error::protocol("an answer of the stream has no outcome")),
    };
    if let Some(job) = unanswered.pop_front() {
        // Fails if the caller does not wait any more.
        job.answer.send(outcome).ok();
    }
    None
}

fn is_unavailable(error: &roomcast_proto::v1::Error) -> bool {
    i32::try_from(error.code).is_ok_and(|code| code == Code::Unavailable as i32)
}
