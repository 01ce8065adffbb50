//! Publishing over gRPC, from a thread of its own so that the crowd's poll is not held up.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use roomcast_proto::v1::{
    Message, PublishBatchRequest, PublishRequest, PublishStreamRequest, publish_stream_response::Outcome,
    publisher_client::PublisherClient,
};
use tokio::{runtime, sync::mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::Channel;

use crate::wire;

/// Messages that may wait for the publishing thread; when they are this many, the crowd waits for it.
const QUEUE_MAX: usize = 1024;
/// Most messages of one batch.
const BATCH_MAX: usize = 1000;

/// Publishes the messages it is given, in order.
pub(crate) struct Publisher {
    queue: mpsc::Sender<Message>,
    failures: Arc<AtomicU64>,
}

impl Publisher {
    /// One call per message, the next one once the last is answered.
    pub(crate) fn unary(server: SocketAddr) -> anyhow::Result<Self> {
        Self::start(server, |mut client, mut messages, failures| async move {
            while let Some(message) = messages.recv().await {
                let request = PublishRequest { message: Some(message), ..PublishRequest::default() };
                if client.publish(request).await.is_err() {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    }

    /// Messages that wait together in one call, the next once the last is answered.
    pub(crate) fn batches(server: SocketAddr) -> anyhow::Result<Self> {
        Self::start(server, |mut client, mut messages, failures| async move {
            let mut batch = Vec::new();
            while messages.recv_many(&mut batch, BATCH_MAX).await > 0 {
                let messages = std::mem::take(&mut batch);
                let count = messages.len() as u64;
                let request = PublishBatchRequest { messages, ..PublishBatchRequest::default() };
                if client.publish_batch(request).await.is_err() {
                    failures.fetch_add(count, Ordering::Relaxed);
                }
            }
        })
    }

    /// All messages over one stream.
    pub(crate) fn stream(server: SocketAddr) -> anyhow::Result<Self> {
        Self::start(server, |mut client, messages, failures| async move {
            let requests = ReceiverStream::new(messages)
                .map(|message| PublishStreamRequest { message: Some(message), ..Default::default() });
            let fail = || failures.fetch_add(1, Ordering::Relaxed);
            let Ok(answers) = client.publish_stream(requests).await else {
                fail();
                return;
            };
            let mut answers = answers.into_inner();
            loop {
                match answers.message().await {
                    Ok(Some(answer)) if matches!(answer.outcome, Some(Outcome::Published(_))) => {}
                    Ok(None) => return,
                    Ok(Some(_)) => drop(fail()),
                    Err(_) => {
                        fail();
                        return;
                    }
                }
            }
        })
    }

    fn start<F: Future<Output = ()>>(
        server: SocketAddr,
        publish: impl FnOnce(PublisherClient<Channel>, mpsc::Receiver<Message>, Arc<AtomicU64>) -> F
        + Send
        + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(PublisherClient::connect(format!("http://{server}")));
        let client = client.with_context(|| format!("no publish API at {server}"))?;
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let failures = Arc::new(AtomicU64::new(0));
        let counted = failures.clone();
        // The thread ends when the queue's other end is dropped.
        thread::Builder::new()
            .name("publisher".into())
            .spawn(move || runtime.block_on(publish(client, messages, counted)))?;
        Ok(Self { queue, failures })
    }

    /// Publishes message number `sequence` of a room.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) fn publish(&self, room: u32, sequence: u32) -> anyhow::Result<()> {
        self.queue.blocking_send(message(room, sequence)).context("the publish stream has ended")
    }

    /// How many messages were refused since the last call.
    pub(crate) fn take_failures(&self) -> u64 {
        self.failures.swap(0, Ordering::Relaxed)
    }
}

/// Message number `sequence` of a room, as back ends publish it.
pub(crate) fn message(room: u32, sequence: u32) -> Message {
    Message {
        rooms: vec![format!("r{room}")],
        event: "m".into(),
        arguments: wire::arguments(room, sequence),
        ..Message::default()
    }
}
