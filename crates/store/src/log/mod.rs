//! Where the bytes go: the write buffer and the recent past ([`tail`]), the files ([`segments`]), the durable frontier
//! ([`frontier`]), the thread that writes ([`writer`]), and the walk over what was written ([`scan`]).

mod blank;
mod blocks;
mod frontier;
mod room;
mod scan;
mod segments;
mod shared;
mod tail;
mod writer;

pub(crate) use blank::{BLANK_MARK_BYTES, encode_blank};
pub(crate) use frontier::{
    FRONTIER_DIR, FRONTIER_PATH, Frontier, FrontierError, FrontierFacts, FrontierLook,
};
pub(crate) use room::Room;
pub(crate) use scan::{Found, Scanner, goes_on, said_position};
pub(crate) use segments::{
    CLEAR_BYTES, LOG_DIR, Segment, SegmentError, Segments, clear_ends, segment_name, segment_path,
};
pub(crate) use shared::Shared;
pub(crate) use tail::Tail;
pub(crate) use writer::is_direct;
pub use writer::{WriteError, Writer};

use crate::Position;
use bytes::Bytes;

/// Bytes for the writer, in log order. They never cross a segment boundary.
#[derive(Debug, Clone)]
pub struct WriteBatch {
    pub position: Position,
    pub bytes: Bytes,
}

impl WriteBatch {
    /// Position just behind the bytes.
    pub fn end(&self) -> Position {
        self.position + self.bytes.len() as u64
    }
}
