//! The client: what it shares, and how messages leave it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roomcast_proto::v1::{self, Published, Report};
use serde::Serialize;

use crate::arguments::Arguments;
use crate::builder::Builder;
use crate::connection::{Again, Connection};
use crate::error::Error;
use crate::message::Message;
use crate::pipeline::Pipeline;
use crate::retry::idempotency_key;
use crate::rooms::ListRooms;
use crate::server_side::ServerAnswers;
use crate::stream::PublishStream;
use crate::targets::Targets;

/// Publishes to Socket.IO clients. Clones are cheap and share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) connection: Arc<Connection>,
    window: usize,
    batching: bool,
    /// Messages that [`Client::publish`] has on their way.
    on_their_way: AtomicUsize,
    /// Takes the messages of [`Client::publish`] while others are on their way.
    pipeline: OnceLock<Pipeline>,
}

impl Client {
    /// A client of the server at `endpoint`, such as `http://127.0.0.1:50051`, to be set up further.
    pub fn builder(endpoint: impl Into<String>) -> Builder {
        Builder::new(endpoint.into())
    }

    pub(crate) fn over(connection: Connection, batching: bool, window: usize) -> Self {
        let shared = Shared {
            connection: Arc::new(connection),
            window,
            batching,
            on_their_way: AtomicUsize::new(0),
            pipeline: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The sockets of a namespace; without it, calls mean `/`.
    pub fn of(&self, namespace: impl Into<String>) -> Targets {
        Targets::new(self.clone()).of(namespace)
    }

    /// The sockets of a room.
    pub fn to(&self, room: impl Into<String>) -> Targets {
        Targets::new(self.clone()).to(room)
    }

    /// All sockets but those of a room.
    pub fn except(&self, room: impl Into<String>) -> Targets {
        Targets::new(self.clone()).except(room)
    }

    /// All sockets of `/`.
    pub fn all(&self) -> Targets {
        Targets::new(self.clone())
    }

    /// Emits to all sockets of `/`; see [`Targets::emit`].
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn emit<T: Serialize + ?Sized>(&self, event: &str, arguments: &T) -> Result<Published, Error> {
        self.publish(Message::new(event, arguments)?).await
    }

    /// Publishes one message and waits until it is on its way to the sockets.
    ///
    /// A caller that comes alone makes a call of its own at once. While messages are on their way, further ones go over
    /// one stream, which costs the server a fraction; nothing ever waits for others to come. Between messages that
    /// are published at the same time there is no order: use [`Client::stream`] for one.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// use roomcast_client::Message;
    ///
    /// let message = Message::new("price", &("ACME", 12.5))?.to("stock:ACME").volatile();
    /// let published = client.publish(message).await?;
    /// assert_eq!(published.message_id.len(), 26);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the field; [`Error::Unavailable`] once retries are over; and the others.
    pub async fn publish(&self, message: Message) -> Result<Published, Error> {
        let shared = &*self.shared;
        // Answers of a stream come in order: one that waits for the nodes would hold up those behind it.
        let alone = OnItsWay::begin(&shared.on_their_way);
        if alone.first || !shared.batching || message.report == Report::Reach {
            return self.publish_alone(message).await;
        }
        let pipeline = shared.pipeline.get_or_init(|| self.pipeline());
        pipeline.send(self.stream_request(message)).await?.wait().await
    }

    async fn publish_alone(&self, message: Message) -> Result<Published, Error> {
        let request = v1::PublishRequest {
            message: Some(message.message),
            idempotency_key: self.idempotency_key(),
            report: message.report.into(),
        };
        let call = |mut client: ServiceClient, request| async move { client.publish(request).await };
        let v1::PublishResponse { message_id, reach } = self.call(request, Again::Harmless, call).await?;
        Ok(Published { message_id, reach })
    }

    /// Publishes up to 1000 messages in order. One that breaks a rule refuses all of them.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// use roomcast_client::Message;
    ///
    /// let rooms = ["order:1", "order:2", "order:3"];
    /// let messages = rooms.map(|room| Message::raw("shipped", "[]").to(room));
    /// let published = client.publish_batch(messages).await?;
    /// assert_eq!(published.len(), 3);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`]; the field says which message.
    pub async fn publish_batch(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Vec<Published>, Error> {
        let mut report = Report::Accepted;
        let messages = messages.into_iter().map(|message| {
            report = report.max(message.report);
            message.message
        });
        let messages = messages.collect();
        let request = v1::PublishBatchRequest {
            messages,
            idempotency_key: self.idempotency_key(),
            report: report.into(),
        };
        let call = |mut client: ServiceClient, request| async move { client.publish_batch(request).await };
        Ok(self.call(request, Again::Harmless, call).await?.published)
    }

    /// A stream of messages: the fast way, and the one that keeps their order.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// use roomcast_client::Message;
    ///
    /// let stream = client.stream();
    /// let mut answers = Vec::new();
    /// for n in 0..100 {
    ///     // Waits only while the window is full.
    ///     answers.push(stream.send(Message::new("tick", &n)?.to("clock")).await?);
    /// }
    /// for answer in answers {
    ///     answer.await?;
    /// }
    /// # Ok(()) });
    /// ```
    pub fn stream(&self) -> PublishStream {
        PublishStream::new(self.clone(), self.pipeline())
    }

    /// The rooms of a namespace; see [`ListRooms`].
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// let mut rooms = client.rooms().prefix("order:").list();
    /// while let Some(room) = rooms.next().await {
    ///     let room = room?;
    ///     println!("{}: {:?} sockets", room.name, room.sockets);
    /// }
    /// # Ok(()) });
    /// ```
    pub fn rooms(&self) -> ListRooms {
        ListRooms::new(self.clone())
    }

    /// Emits an event to the servers of the cluster and waits for none of them; see
    /// [`Targets::server_side_emit_with_ack`] for their answers.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// client.server_side_emit("reload", &("prices",)).await?;
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        arguments: &T,
    ) -> Result<(), Error> {
        self.all().server_side_emit(event, arguments).await
    }

    pub(crate) async fn emit_to_servers<T: Serialize + ?Sized>(
        &self,
        namespace: String,
        event: &str,
        arguments: &T,
        answers: Option<Duration>,
    ) -> Result<ServerAnswers, Error> {
        let Arguments { text, attachments } = Arguments::of(arguments)?;
        if !attachments.is_empty() {
            let message = "arguments: servers take no binary, only clients do".into();
            return Err(Error::InvalidArgument { field: Some("arguments".into()), message });
        }
        let request = v1::ServerSideEmitRequest {
            namespace,
            event: event.to_owned(),
            arguments: text,
            answers: answers.is_some(),
            timeout_ms: answers.map_or(0, ms),
        };
        let call = |mut client: ServiceClient, request| async move { client.server_side_emit(request).await };
        let time = self.time() + answers.unwrap_or_default();
        let response = self.shared.connection.call(time, request, Again::OnlyIfRefused, call).await?;
        Ok(response.into())
    }

    pub(crate) async fn call<M, A, C, F>(&self, message: M, again: Again, call: C) -> Result<A, Error>
    where
        M: Clone,
        C: Fn(ServiceClient, tonic::Request<M>) -> F,
        F: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
    {
        self.shared.connection.call(self.time(), message, again, call).await
    }

    /// How long a call takes at most.
    pub(crate) fn time(&self) -> Duration {
        self.shared.connection.deadline
    }

    pub(crate) fn stream_request(&self, message: Message) -> v1::PublishStreamRequest {
        v1::PublishStreamRequest {
            // Numbered anew by every session.
            sequence: 0,
            message: Some(message.message),
            idempotency_key: self.idempotency_key(),
            report: message.report.into(),
        }
    }

    fn pipeline(&self) -> Pipeline {
        Pipeline::start(self.shared.connection.clone(), self.shared.window)
    }

    /// Empty where nothing is retried: the server then need not remember.
    fn idempotency_key(&self) -> String {
        self.shared.connection.retries.as_ref().map(|_| idempotency_key()).unwrap_or_default()
    }
}

pub(crate) type ServiceClient = v1::publisher_client::PublisherClient<tonic::transport::Channel>;

/// Whole ms, at least 1: 0 means the server's default.
pub(crate) fn ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Counts one message for as long as it lives.
struct OnItsWay<'a> {
    count: &'a AtomicUsize,
    /// Whether there was no other.
    first: bool,
}

impl<'a> OnItsWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        Self { count, first }
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
