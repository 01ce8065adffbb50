//! A back end that publishes over gRPC.

use std::net::SocketAddr;

use roomcast_proto::v1::{
    CallAnswer, CallRequest, CallResponse, CallSummary, FetchSocketsRequest, Message, PublishRequest, Reach,
    Report, Socket, Targets, call_response::Part, publisher_client::PublisherClient,
};
use tokio::runtime::{Builder, Runtime};
use tonic::{Status, Streaming, transport::Channel};

/// A connection to the publish API, for code that blocks.
pub(crate) struct Publisher {
    runtime: Runtime,
    client: PublisherClient<Channel>,
}

/// A message for `rooms` of `/`; no rooms are all sockets.
pub(crate) fn message(rooms: &[&str], event: &str, arguments: &str) -> Message {
    Message {
        rooms: rooms.iter().map(ToString::to_string).collect(),
        event: event.into(),
        arguments: arguments.into(),
        ..Message::default()
    }
}

impl Publisher {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(PublisherClient::connect(format!("http://{address}"))).unwrap();
        Self { runtime, client }
    }

    /// Publishes and waits for what became of it.
    pub(crate) fn publish(&mut self, message: Message) -> Reach {
        let request = PublishRequest {
            message: Some(message),
            report: Report::Reach.into(),
            ..PublishRequest::default()
        };
        let answer = self.runtime.block_on(self.client.publish(request)).unwrap();
        answer.into_inner().reach.unwrap()
    }

    /// Begins a call: when this returns, the clients are being asked.
    pub(crate) fn call(&mut self, message: Message) -> Calling {
        self.try_call(message).unwrap()
    }

    /// The same, whatever the answer.
    pub(crate) fn try_call(&mut self, message: Message) -> Result<Calling, Status> {
        let request = CallRequest { message: Some(message), timeout_ms: 60_000, quorum: None };
        self.runtime.block_on(self.client.call(request)).map(|responses| Calling(responses.into_inner()))
    }

    /// The answers of a call in the order of their arrival, and its summary.
    pub(crate) fn called(&mut self, Calling(mut responses): Calling) -> (Vec<CallAnswer>, CallSummary) {
        let mut answers = Vec::new();
        loop {
            match self.runtime.block_on(responses.message()).unwrap() {
                Some(CallResponse { part: Some(Part::Answer(answer)) }) => answers.push(answer),
                Some(CallResponse { part: Some(Part::Summary(summary)) }) => return (answers, summary),
                other => panic!("{other:?}"),
            }
        }
    }

    /// All sockets of a namespace, ordered by id, from pages of two.
    pub(crate) fn fetch(&mut self, namespace: &str) -> Vec<Socket> {
        let targets = Some(Targets { namespace: namespace.into(), ..Targets::default() });
        let request = FetchSocketsRequest { targets, page_size: 2, ..FetchSocketsRequest::default() };
        let mut pages = self.runtime.block_on(self.client.fetch_sockets(request)).unwrap().into_inner();
        let mut sockets = Vec::new();
        while let Some(page) = self.runtime.block_on(pages.message()).unwrap() {
            sockets.extend(page.sockets);
        }
        sockets
    }
}

/// A call that waits for answers.
pub(crate) struct Calling(Streaming<CallResponse>);
