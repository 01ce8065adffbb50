//! A back end that publishes over gRPC.

use std::net::SocketAddr;

use roomcast_proto::v1::{Message, PublishRequest, Reach, Report, publisher_client::PublisherClient};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;

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
}
