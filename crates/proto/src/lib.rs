//! Types, client and server of the gRPC services, generated from `proto/` at build time.

/// Package `roomcast.v1`: the publish API.
pub mod v1 {
    #![allow(clippy::all, unused_qualifications, reason = "generated code")]

    tonic::include_proto!("roomcast.v1");
}

/// The services and messages with their comments, an encoded `google.protobuf.FileDescriptorSet`: what gRPC
/// reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
