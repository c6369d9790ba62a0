//! The gRPC face.

pub mod http2;

/// The calls and their contents, as `proto/` defines them.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v2 {
    include!(concat!(env!("OUT_DIR"), "/apache.rocketmq.v2.rs"));
}
