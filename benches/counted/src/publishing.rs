//! A message of a back end, from its bytes to what shards are given.

use std::hint::black_box;

use prost::Message as _;
use publish::{PublishConfig, checked_of_stream};
use roomcast_proto::v1;

use crate::{Bench, Counted, codecs};

pub(crate) const BENCHES: [Bench; 1] = [("publish_read_and_checked", read_and_checked)];

fn read_and_checked() -> Counted {
    let event = codecs::event();
    let arguments =
        event.split_once(',').map(|(_, arguments)| format!("[{arguments}")).expect("it has arguments");
    let message =
        v1::Message { rooms: vec!["r0".into()], event: "m".into(), arguments, ..v1::Message::default() };
    let request = v1::PublishStreamRequest { sequence: 300, message: Some(message), ..Default::default() };
    let (bytes, config) = (request.encode_to_vec(), PublishConfig::default());
    Counted::new(1, move || {
        let broadcast = checked_of_stream(black_box(&bytes), &config);
        assert!(black_box(broadcast).is_some());
    })
}
