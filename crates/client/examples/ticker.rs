//! A service that publishes on a timer: the time, to everyone in room `clock`.
//!
//! ```console
//! $ cargo run --package roomcast-client --example ticker -- http://127.0.0.1:50051
//! ```
//!
//! The key, where one is needed, is in `ROOMCAST_KEY`. It goes on through restarts of the gateway, and ends with Ctrl-C.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roomcast_client::{Client, Message};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

#[derive(Serialize)]
struct Tick {
    nth: u64,
    unix_ms: u128,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    let mut builder = Client::builder(endpoint).deadline(Duration::from_secs(5));
    if let Ok(key) = std::env::var("ROOMCAST_KEY") {
        builder = builder.bearer(&key);
    }
    let client = builder.build()?;
    let mut timer = interval(Duration::from_secs(1));
    // A tick that is late is worth nothing once the next is due.
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for nth in 0.. {
        timer.tick().await;
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let message = Message::new("tick", &Tick { nth, unix_ms })?.to("clock").volatile().with_reach();
        match client.publish(message).await {
            Ok(published) => {
                let reach = published.reach.unwrap_or_default();
                println!("{} to {} sockets", published.message_id, reach.sockets_written);
            }
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}
