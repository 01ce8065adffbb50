//! Packets at random, for the property tests of the codecs.

use proptest::{collection::vec, prelude::*};

use crate::{Data, Packet, PacketKind, Revision};

pub(crate) fn revision() -> impl Strategy<Value = Revision> {
    prop_oneof![Just(Revision::V3), Just(Revision::V4)]
}

/// Any packet; its text may hold any character but the separator of revision 4 payloads, which real
/// packets cannot hold either: JSON escapes it.
pub(crate) fn packet() -> impl Strategy<Value = Packet<'static>> {
    prop_oneof![
        ("[0-6]", "[^\u{1e}]{0,40}").prop_map(|(digit, text)| Packet {
            kind: digit.chars().next().and_then(PacketKind::from_digit).expect("0 to 6 are the digits"),
            data: Data::Text(text.into()),
        }),
        vec(any::<u8>(), 0..40)
            .prop_map(|bytes| Packet { kind: PacketKind::Message, data: Data::Binary(bytes.into()) }),
    ]
}
