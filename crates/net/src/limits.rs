//! Every limit of a listener, by name.

use kerolox_wire::frame::FRAME_BYTES_MAX;

/// What a listener admits. The behaviour at each limit is tested in `tests/limits.rs`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at a time. One more is accepted and closed at once.
    pub connections_max: usize,
    /// Largest frame, length field excluded. A larger one closes its connection.
    pub frame_bytes_max: usize,
    /// Seconds within which a frame must be complete once its first byte came, or its connection is closed.
    pub frame_s_max: u64,
    /// Seconds without any byte in either direction, or in which a peer took none of the answers that wait for it, after which a
    /// connection is closed: Apache's `serverChannelMaxIdleTimeSeconds`.
    pub idle_s_max: u64,
    /// Unsent bytes of one connection above which nothing more is read from it.
    pub outbox_bytes_pause: usize,
    /// Unsent bytes of one connection above which it is closed if its peer took none for [`Self::slow_s_max`]. So it is with any
    /// unsent bytes once the server closes the connection.
    pub outbox_bytes_max: usize,
    /// Seconds that such a peer has.
    pub slow_s_max: u64,
    /// Bytes of all connections together: frames that are not complete or not looked at, and unsent answers. Above half of it
    /// nothing more is read from those with [`Self::outbox_bytes_scarce`] unsent; above all of it the connection that holds
    /// most is closed.
    pub memory_bytes_max: usize,
    /// Unsent bytes of one connection above which nothing more is read from it when memory is scarce.
    pub outbox_bytes_scarce: usize,
    /// Requests of one connection that wait for their answer above which nothing more is read from it.
    pub parked_max: usize,
    /// Largest read from a socket at a time, and so the largest batch.
    pub read_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            frame_bytes_max: FRAME_BYTES_MAX,
            frame_s_max: 30,
            idle_s_max: 120,
            outbox_bytes_pause: 8 << 20,
            outbox_bytes_max: 64 << 20,
            slow_s_max: 10,
            memory_bytes_max: 1 << 30,
            outbox_bytes_scarce: 256 << 10,
            parked_max: 65_536,
            read_bytes: 256 << 10,
        }
    }
}
