//! The sockets of rooms, and what can be done with them, in the words of Socket.IO.

use std::time::Duration;

use roomcast_proto::v1::{self, Coverage, Published, Report, Socket};
use serde::Serialize;

use crate::call::{Answers, Quorum};
use crate::client::{Client, ServiceClient, ms};
use crate::connection::Again;
use crate::error::Error;
use crate::message::Message;
use crate::pages::Pages;
use crate::server_side::ServerAnswers;
use crate::sockets;

/// How long nodes and sockets may take to answer, as the server has it for calls that do not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Some sockets of a namespace: all of them, or those of rooms. Made by [`Client::to`], [`Client::of`] and others.
///
/// ```
/// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
/// # doc::on_a_gateway(async |client| {
/// client.to("lobby").to("bar").except("muted").volatile().emit("news", &("hello", 1)).await?;
/// client.of("/chat").emit("closing", &()).await?;
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Targets {
    client: Client,
    targets: v1::Targets,
    volatile: bool,
    report: Report,
    timeout: Duration,
    quorum: Option<Quorum>,
    page_size: u32,
    sockets_max: u64,
}

/// What became of a change to sockets; empty without [`Targets::with_reach`].
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// The nodes this speaks for.
    pub coverage: Option<Coverage>,
    /// Sockets that are now as they were told to be.
    pub sockets_matched: u64,
}

/// A number of sockets.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// Sockets counted by the nodes that answered.
    pub sockets: u64,
    /// The nodes this speaks for.
    pub coverage: Coverage,
}

impl Targets {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            targets: v1::Targets::default(),
            volatile: false,
            report: Report::Accepted,
            timeout: TIMEOUT_DEFAULT,
            quorum: None,
            page_size: 0,
            sockets_max: 0,
        }
    }

    /// Of this namespace instead of `/`.
    pub fn of(mut self, namespace: impl Into<String>) -> Self {
        self.targets.namespace = namespace.into();
        self
    }

    /// The sockets of this room too. The id of a socket is a room.
    pub fn to(mut self, room: impl Into<String>) -> Self {
        self.targets.rooms.push(room.into());
        self
    }

    /// Not the sockets of this room, whatever other rooms they are in.
    pub fn except(mut self, room: impl Into<String>) -> Self {
        self.targets.except.push(room.into());
        self
    }

    /// Emits are dropped for clients that are not ready to take them at once.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Answers come once the nodes have said what became of it.
    pub fn with_reach(mut self) -> Self {
        self.report = Report::Reach;
        self
    }

    /// How long nodes and clients may take to answer, up to a minute. Default: 5 s. On top of it comes the deadline of
    /// the client, for reaching the server.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// When [`Targets::call`] ends before its timeout and before all have answered.
    pub fn quorum(mut self, quorum: Quorum) -> Self {
        self.quorum = Some(quorum);
        self
    }

    /// Sockets per page of [`Targets::fetch_sockets`], 1 to 1000; the server's default is 100.
    pub fn page_size(mut self, sockets: u32) -> Self {
        self.page_size = sockets;
        self
    }

    /// Ends [`Targets::fetch_sockets`] after so many sockets.
    pub fn sockets_max(mut self, sockets: u64) -> Self {
        self.sockets_max = sockets;
        self
    }

    /// Emits an event; `arguments` are as in [`Message::new`], binary among them as [`Binary`](crate::Binary).
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// use roomcast_client::Binary;
    ///
    /// let picture = Binary::from(vec![0xff, 0xd8]);
    /// let published = client.to("lobby").with_reach().emit("picture", &("cat.jpg", picture)).await?;
    /// println!("{} sockets", published.reach.unwrap_or_default().sockets_written);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`], and [`Error::Arguments`].
    pub async fn emit<T: Serialize + ?Sized>(&self, event: &str, arguments: &T) -> Result<Published, Error> {
        self.client.publish(self.message(Message::new(event, arguments)?)).await
    }

    /// Emits an event whose arguments are the text of a JSON array, which clients get byte for byte.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn emit_raw(&self, event: &str, arguments: &str) -> Result<Published, Error> {
        self.client.publish(self.message(Message::raw(event, arguments))).await
    }

    /// Emits an event with an acknowledgement callback, and collects what the clients answer.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// use std::time::Duration;
    /// use roomcast_client::Quorum;
    ///
    /// let voters = client.to("voters").timeout(Duration::from_secs(2)).quorum(Quorum::Share(0.5));
    /// let mut answers = voters.call("vote", &("tea or coffee?",)).await?;
    /// while let Some(answer) = answers.next().await {
    ///     let answer = answer?;
    ///     let (vote,): (String,) = answer.read()?;
    ///     println!("{} wants {vote}", answer.socket_id);
    /// }
    /// println!("asked {}", answers.summary().unwrap().sockets_asked);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`]. A call whose connection is lost is not made again: clients would be asked twice.
    pub async fn call<T: Serialize + ?Sized>(&self, event: &str, arguments: &T) -> Result<Answers, Error> {
        let message = self.message(Message::new(event, arguments)?);
        let request = v1::CallRequest {
            message: Some(message.message),
            timeout_ms: ms(self.timeout),
            quorum: self.quorum.map(Into::into),
        };
        let call = |mut client: ServiceClient, request| async move { client.call(request).await };
        let connection = &self.client.shared.connection;
        let answers = connection.call(self.time(), request, Again::OnlyIfRefused, call).await?;
        Ok(Answers::new(answers, self.time()))
    }

    /// Makes the sockets join rooms, like `socketsJoin`.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// let changed = client.to("user:7").with_reach().join(["vip", "lounge"]).await?;
    /// println!("{} sockets", changed.sockets_matched);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn join<R: Into<String>>(&self, rooms: impl IntoIterator<Item = R>) -> Result<Changed, Error> {
        let request = v1::JoinRoomsRequest {
            targets: Some(self.targets.clone()),
            rooms: rooms.into_iter().map(Into::into).collect(),
            report: self.report.into(),
        };
        let call = |mut client: ServiceClient, request| async move { client.join_rooms(request).await };
        let v1::JoinRoomsResponse { coverage, sockets_matched } =
            self.client.call(request, Again::Harmless, call).await?;
        Ok(Changed { coverage, sockets_matched })
    }

    /// Makes the sockets leave rooms, like `socketsLeave`.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// client.to("user:7").leave(["vip"]).await?;
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn leave<R: Into<String>>(&self, rooms: impl IntoIterator<Item = R>) -> Result<Changed, Error> {
        let request = v1::LeaveRoomsRequest {
            targets: Some(self.targets.clone()),
            rooms: rooms.into_iter().map(Into::into).collect(),
            report: self.report.into(),
        };
        let call = |mut client: ServiceClient, request| async move { client.leave_rooms(request).await };
        let v1::LeaveRoomsResponse { coverage, sockets_matched } =
            self.client.call(request, Again::Harmless, call).await?;
        Ok(Changed { coverage, sockets_matched })
    }

    /// Disconnects the sockets from their namespace, like `disconnectSockets`.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// client.to("user:7").disconnect().await?;
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn disconnect(&self) -> Result<Changed, Error> {
        self.disconnect_sockets(false).await
    }

    /// Closes the connections of the sockets, with all their namespaces.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn close(&self) -> Result<Changed, Error> {
        self.disconnect_sockets(true).await
    }

    async fn disconnect_sockets(&self, close: bool) -> Result<Changed, Error> {
        let request = v1::DisconnectSocketsRequest {
            targets: Some(self.targets.clone()),
            close,
            report: self.report.into(),
        };
        let call =
            |mut client: ServiceClient, request| async move { client.disconnect_sockets(request).await };
        let v1::DisconnectSocketsResponse { coverage, sockets_matched } =
            self.client.call(request, Again::Harmless, call).await?;
        Ok(Changed { coverage, sockets_matched })
    }

    /// Lists the sockets with all that the cluster knows of them, like `fetchSockets`.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// let mut sockets = client.to("lobby").fetch_sockets();
    /// while let Some(socket) = sockets.next().await {
    ///     let socket = socket?;
    ///     println!("{} is in {:?}", socket.id, socket.rooms);
    /// }
    /// # Ok(()) });
    /// ```
    pub fn fetch_sockets(&self) -> Pages<Socket> {
        let request = v1::FetchSocketsRequest {
            targets: Some(self.targets.clone()),
            page_size: self.page_size,
            sockets_max: self.sockets_max,
            page_token: String::new(),
            timeout_ms: ms(self.timeout),
        };
        sockets::fetch(self.client.clone(), request)
    }

    /// Counts the sockets without transferring them.
    ///
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
    /// # doc::on_a_gateway(async |client| {
    /// assert_eq!(client.to("lobby").count().await?.sockets, 0);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn count(&self) -> Result<Count, Error> {
        let request =
            v1::CountSocketsRequest { targets: Some(self.targets.clone()), timeout_ms: ms(self.timeout) };
        let call = |mut client: ServiceClient, request| async move { client.count_sockets(request).await };
        let connection = &self.client.shared.connection;
        let v1::CountSocketsResponse { sockets, coverage } =
            connection.call(self.time(), request, Again::Harmless, call).await?;
        Ok(Count { sockets, coverage: coverage.unwrap_or_default() })
    }

    /// Emits an event to the servers of the namespace and waits for none of them. Rooms do not matter.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        arguments: &T,
    ) -> Result<(), Error> {
        let namespace = self.targets.namespace.clone();
        self.client.emit_to_servers(namespace, event, arguments, None).await.map(drop)
    }

    /// Emits an event to the servers of the namespace and waits for their answers. Rooms do not matter.
    ///
    /// # Errors
    /// As [`Client::publish`]. Not made again when the connection is lost: servers would get it twice.
    pub async fn server_side_emit_with_ack<T: Serialize + ?Sized>(
        &self,
        event: &str,
        arguments: &T,
    ) -> Result<ServerAnswers, Error> {
        let namespace = self.targets.namespace.clone();
        self.client.emit_to_servers(namespace, event, arguments, Some(self.timeout)).await
    }

    fn message(&self, mut message: Message) -> Message {
        let v1::Targets { namespace, rooms, except } = self.targets.clone();
        message.message =
            v1::Message { namespace, rooms, except, r#volatile: self.volatile, ..message.message };
        message.report = self.report;
        message
    }

    /// The time of calls that wait for nodes or clients.
    fn time(&self) -> Duration {
        self.client.time() + self.timeout
    }
}
