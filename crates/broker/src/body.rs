//! The body that answers a poll, in the dialect of its client.

use engineio::{BodyForm, PayloadEncoder, v09};

/// Collects packets; [`Encoded::add_to`](crate::Encoded::add_to) adds them in the form that is the client's.
#[derive(Debug)]
pub(crate) enum PollBody {
    Json(PayloadEncoder),
    MsgPack(PayloadEncoder),
    V09(v09::BodyEncoder),
}

impl PollBody {
    /// The body, and how it is written.
    pub(crate) fn finish(self) -> (Vec<u8>, BodyForm) {
        match self {
            Self::Json(payload) | Self::MsgPack(payload) => payload.finish(),
            Self::V09(body) => (body.finish().into_bytes(), BodyForm::Text),
        }
    }
}
