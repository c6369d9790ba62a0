//! The bits of a message's `sysFlag`, and of a pull request's.
//! Source: Apache's `MessageSysFlag` and `PullSysFlag`.

/// The body is compressed; how, see [`COMPRESSION_MASK`].
pub const COMPRESSED: i32 = 1;
pub const MULTI_TAGS: i32 = 1 << 1;
/// Two bits that say what the message is to a transaction.
pub const TRANSACTION_MASK: i32 = 3 << 2;
pub const TRANSACTION_NOT: i32 = 0;
pub const TRANSACTION_PREPARED: i32 = 1 << 2;
pub const TRANSACTION_COMMIT: i32 = 2 << 2;
pub const TRANSACTION_ROLLBACK: i32 = 3 << 2;
/// The born host of the record is an IPv6 address: 20 bytes instead of 8.
pub const BORN_HOST_V6: i32 = 1 << 4;
/// The store host of the record is an IPv6 address: 20 bytes instead of 8.
pub const STORE_HOST_V6: i32 = 1 << 5;
/// The body is a batch that a client is to unwrap.
pub const NEED_UNWRAP: i32 = 1 << 6;
/// One record that holds a batch and takes several queue offsets.
pub const INNER_BATCH: i32 = 1 << 7;
/// Three bits that say how the body is compressed; none of them set means zlib, as before there was a choice.
pub const COMPRESSION_MASK: i32 = 7 << 8;
pub const COMPRESSION_LZ4: i32 = 1 << 8;
pub const COMPRESSION_ZSTD: i32 = 2 << 8;
pub const COMPRESSION_ZLIB: i32 = 3 << 8;

/// What the message is to a transaction: one of the four `TRANSACTION_` values.
pub const fn transaction(sys_flag: i32) -> i32 {
    sys_flag & TRANSACTION_MASK
}

/// The bits of a pull request's `sysFlag`.
pub mod pull {
    /// `commitOffset` is to be taken over as the group's offset.
    pub const COMMIT_OFFSET: i32 = 1;
    /// With nothing to be had, hold the request up to its `suspendTimeoutMillis`.
    pub const SUSPEND: i32 = 1 << 1;
    /// The request carries its own subscription.
    pub const SUBSCRIPTION: i32 = 1 << 2;
    /// Filter by a class: a thing of the past.
    pub const CLASS_FILTER: i32 = 1 << 3;
    /// From a `DefaultLitePullConsumer`.
    pub const LITE_PULL: i32 = 1 << 4;
}
