//! `cargo xtask publish`: a back end in one line, for those without grpcurl.

use anyhow::{Context, Result};
use clap::Args;
use roomcast_proto::v1::publisher_client::PublisherClient;
use roomcast_proto::v1::{Message, PublishRequest};

/// Publishes one event.
#[derive(Args)]
pub(crate) struct Publish {
    /// The room whose sockets get it; '' means every socket of the namespace.
    room: String,
    /// The name of the event.
    event: String,
    /// Its arguments, each as JSON: '{"text":"hi"}' 42 '"Ada"'.
    #[arg(value_parser = json)]
    arguments: Vec<String>,
    /// The namespace.
    #[arg(long, default_value = "/")]
    namespace: String,
    /// Address of the publish API.
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    to: String,
}

/// Accepts `text` if it is JSON, and leaves it as it is: it travels byte for byte.
fn json(text: &str) -> Result<String, String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!("{error}; a text needs quotes of its own: '\"hello\"'")),
    }
}

impl Publish {
    /// Sends it and prints the id of the message.
    ///
    /// # Errors
    /// When nobody listens, or the gateway refuses; with its words.
    pub(crate) fn run(self) -> Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.send())
    }

    async fn send(self) -> Result<()> {
        let address = format!("http://{}", self.to);
        let mut client = PublisherClient::connect(address).await.with_context(|| {
            format!("nobody listens at {}; start a gateway with cargo xtask demo", self.to)
        })?;
        let message = Message {
            namespace: self.namespace,
            rooms: Some(self.room).filter(|room| !room.is_empty()).into_iter().collect(),
            event: self.event,
            arguments: format!("[{}]", self.arguments.join(",")),
            ..Message::default()
        };
        let request = PublishRequest { message: Some(message), ..PublishRequest::default() };
        let answer = client.publish(request).await.map_err(|status| {
            anyhow::anyhow!("the gateway refused with {:?}: {}", status.code(), status.message())
        })?;
        println!("published as {}", answer.into_inner().message_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::json;

    #[test]
    fn arguments_are_json_and_stay_as_written() {
        for good in ["{\"a\": 1.0}", "42", "\"Ada\"", "null", "[ ]"] {
            assert_eq!(json(good), Ok(good.into()));
        }
        for bad in ["Ada", "{", "", "1 2"] {
            assert!(json(bad).is_err(), "{bad}");
        }
    }
}
