// For the examples in the documentation, which include it: each runs against a real gateway of its own.

#[allow(dead_code)]
mod gateway {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/gateway.rs"));
}

pub(crate) struct Example {
    pub(crate) client: roomcast_client::Client,
    pub(crate) endpoint: String,
}

impl std::ops::Deref for Example {
    type Target = roomcast_client::Client;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

pub(crate) fn on_a_gateway(example: impl AsyncFnOnce(&Example) -> Result<(), roomcast_client::Error>) {
    let gateway = gateway::Gateway::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = gateway.endpoint();
        let client = roomcast_client::Client::builder(&endpoint).build().unwrap();
        example(&Example { client, endpoint }).await.unwrap();
    });
}
