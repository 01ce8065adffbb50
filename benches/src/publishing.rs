//! Publishing for its own sake: how many messages a publisher takes, and how soon it answers.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use roomcast_proto::v1::{
    PublishRequest, PublishStreamRequest, publish_stream_response::Outcome, publisher_client::PublisherClient,
};
use tokio::{runtime, sync::mpsc};
use tonic::transport::Channel;

use crate::{
    client::Arrived,
    crowd::{Crowd, Seat},
    histogram::Histogram,
    publisher::message,
    server::{CpuTime, Launch, Programs, start_publisher},
};

/// How long a publisher may take to reach Redis.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a flood gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    pub(crate) elapsed: Duration,
    /// Of the publisher's process alone.
    pub(crate) cpu: CpuTime,
}

/// Publishes `messages` over one stream through a publisher in front of a Redis, as fast as it takes them.
///
/// # Errors
/// When something does not start, or a message is not published.
pub(crate) fn flood(programs: &Programs, messages: u32) -> anyhow::Result<Flood> {
    let server = start_publisher(programs)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut client = runtime.block_on(ready(server.grpc))?;
    runtime.block_on(stream(&mut client, messages.div_ceil(10)))?;
    let (cpu, start) = (server.nodes_cpu_time()?, Instant::now());
    runtime.block_on(stream(&mut client, messages))?;
    let flood = Flood { elapsed: start.elapsed(), cpu: server.nodes_cpu_time()? - cpu };
    server.stop()?;
    Ok(flood)
}

/// A connection to a publisher that publishes: what it is asked for first goes to a room that nobody is in.
async fn ready(at: SocketAddr) -> anyhow::Result<PublisherClient<Channel>> {
    let client = PublisherClient::connect(format!("http://{at}")).await;
    let mut client = client.with_context(|| format!("no publish API at {at}"))?;
    let start = Instant::now();
    while let Err(status) = client.publish(request(u32::MAX, 0)).await {
        ensure!(start.elapsed() < PATIENCE, "nothing can be published: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(client)
}

fn request(room: u32, sequence: u32) -> PublishRequest {
    PublishRequest { message: Some(message(room, sequence)), ..PublishRequest::default() }
}

async fn stream(client: &mut PublisherClient<Channel>, messages: u32) -> anyhow::Result<()> {
    let requests = (0..messages).map(|sequence| PublishStreamRequest {
        sequence: sequence.into(),
        message: Some(message(sequence % 100, sequence)),
        ..PublishStreamRequest::default()
    });
    let mut answers = client.publish_stream(tokio_stream::iter(requests)).await?.into_inner();
    for sequence in 0..messages {
        let answer = answers.message().await?.context("the stream ended early")?;
        ensure!(answer.sequence == u64::from(sequence), "answers are out of order");
        ensure!(matches!(answer.outcome, Some(Outcome::Published(_))), "not published: {answer:?}");
    }
    Ok(())
}

/// A schedule of unary calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    /// Rooms with one member, and calls per second that publish into them in turn.
    pub(crate) rooms: u32,
    pub(crate) per_second: u32,
    /// Members of one more room, and messages per second into it.
    pub(crate) crowded: u32,
    pub(crate) crowded_per_second: u32,
    pub(crate) seconds: u32,
}

/// Publishes on a schedule, one call per message; the time from when each call should have been made to its answer.
///
/// # Errors
/// When something does not start, a call fails, or a message does not arrive.
pub(crate) fn paced(launch: &Launch, paced: Paced) -> anyhow::Result<Histogram> {
    let Paced { rooms, per_second, crowded, crowded_per_second, seconds } = paced;
    let server = launch.start()?;
    let mut crowd = Crowd::new(&server)?;
    crowd.assemble((rooms + crowded) as usize, |place| {
        let room = u32::try_from(place).unwrap_or_default().min(rooms);
        Seat { node: 0, rooms: room..room + 1 }
    })?;
    let calls = per_second * seconds;
    let each = per_second / crowded_per_second;
    let at = server.grpc;
    let publisher = thread::Builder::new().name("publisher".into()).spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(calls_on_schedule(at, calls, per_second, move |call| {
            // Now and then one for the crowded room besides.
            let besides = call.is_multiple_of(each).then(|| request(rooms, call / each));
            (request(call % rooms, call / rooms), besides)
        }))
    })?;
    let expected = u64::from(calls) + u64::from(calls.div_ceil(each)) * u64::from(crowded);
    let (mut delivered, mut since) = (0_u64, Instant::now());
    while delivered < expected {
        let before = delivered;
        crowd.turn(Duration::from_millis(5), |_, _, arrived| {
            delivered += u64::from(matches!(arrived, Arrived::Event { .. }));
            Ok(())
        })?;
        if delivered != before {
            since = Instant::now();
        }
        ensure!(since.elapsed() < PATIENCE, "{delivered} of {expected} arrived");
    }
    let latencies = publisher.join().ok().context("the publishing thread panicked")??;
    drop(crowd);
    server.stop()?;
    Ok(latencies)
}

/// Makes calls at their times, whether those before are answered or not; only the first of each pair is timed.
async fn calls_on_schedule(
    at: SocketAddr,
    calls: u32,
    per_second: u32,
    requests: impl Fn(u32) -> (PublishRequest, Option<PublishRequest>),
) -> anyhow::Result<Histogram> {
    let client = ready(at).await?;
    // Room for all: nobody is to wait for whoever counts.
    let (answered, mut answers) = mpsc::channel(calls as usize);
    let (due, mut times) = mpsc::channel(calls as usize);
    // A thread of its own: the runtime's timers are whole milliseconds.
    thread::Builder::new().name("clock".into()).spawn(move || {
        let start = Instant::now();
        for call in 0..calls {
            let intended = start + Duration::from_secs_f64(f64::from(call) / f64::from(per_second));
            thread::sleep(intended.saturating_duration_since(Instant::now()));
            if due.blocking_send((call, intended)).is_err() {
                return;
            }
        }
    })?;
    while let Some((call, intended)) = times.recv().await {
        let (first, besides) = requests(call);
        let mut other = client.clone();
        if let Some(besides) = besides {
            tokio::spawn(async move { other.publish(besides).await });
        }
        let (mut client, answered) = (client.clone(), answered.clone());
        tokio::spawn(async move {
            let answer = client.publish(first).await.map(|_| intended.elapsed());
            answered.send(answer).await.ok();
        });
    }
    drop(answered);
    let mut latencies = Histogram::default();
    while let Some(answer) = answers.recv().await {
        latencies.record(answer?);
    }
    Ok(latencies)
}
