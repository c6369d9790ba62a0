//! The way back: what Apache RocketMQ needs beside the log to go on with a data directory.
//!
//! At a clean end what Kerolox keeps as state entries is said once more as Apache keeps it: its files below `config/`, its timer log, and
//! messages of its own topics for half messages that ended and for what is in flight. [`crate::State::adopt`] is the other direction.
//!
//! Sources: `ConfigManager` and its heirs (files), `TransactionalMessageServiceImpl.check`, `PopReviveService`, `TimerMessageStore.recover`.

mod files;
mod halves;
mod pops;
mod timers;

pub use timers::{PendingTimer, TimerLogFile, timer_log};

use crate::Broker;
use crate::adopt::{ApacheFile, Log, MODIFIED};
use crate::state;
use bytes::Bytes;
use kerolox_store::{AppendError, Appended, NewMessage, ReadPlan, ReadResult};
use kerolox_wire::names;
use kerolox_wire::properties::PropertiesBuf;

/// What is to be written beside the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenBack {
    /// In the order in which they are to be written: with those in front, Apache loses nothing at least.
    pub files: Vec<(ApacheFile, Bytes)>,
    /// `config/timercheck` while the timer log is replaced: whatever of it is there, Apache reads the timer topic from the first message
    /// that waits.
    pub meanwhile: Bytes,
    /// The time that is to be put on all of them, in seconds since 1970: see [`State::put_time`].
    pub modified_s: u32,
    /// For [`timer_log`].
    pub timers: Vec<PendingTimer>,
    /// What Apache will not go on with.
    pub lost: Vec<String>,
}

/// How far Apache is with topics of its own.
struct Progress {
    first_half: u64,
    first_op: u64,
    /// The timer topic's next offset, before the check points.
    first_timer: u64,
    /// Offset there of the first message that waits.
    first_pending: u64,
    /// Until when all timer messages were delivered.
    timers_read_ms: i64,
}

impl Broker {
    /// Says everything as Apache keeps it. To be called once nothing goes on any more; the files may be written when all that is in the
    /// log by then was synced, so that they are known to be Kerolox's own.
    ///
    /// # Errors
    /// The disk cannot be read, or the log takes nothing: the files are to stay as they are.
    pub fn give_back(
        &mut self,
        now_ms: i64,
        read: &mut dyn FnMut(&ReadPlan) -> ReadResult,
    ) -> Result<GivenBack, String> {
        let units = timers::units(&self.state, now_ms, &mut Log { store: &self.store, read })?;
        let first_timer = self.store.next_offset(names::WHEEL_TIMER_TOPIC, 0);
        let progress = Progress {
            first_half: self.first_half(),
            first_op: self.store.next_offset(names::TRANS_OP_HALF_TOPIC, 0),
            first_timer,
            first_pending: units.first_pending.unwrap_or(first_timer),
            timers_read_ms: units.read_ms,
        };
        let mut entries = Vec::new();
        let refused = |e: AppendError| e.to_string();
        self.end_halves(now_ms, progress.first_half).map_err(refused)?;
        self.check_points(now_ms, &mut entries).map_err(refused)?;
        let mut given = GivenBack { timers: units.pending, ..GivenBack::default() };
        given.modified_s = u32::try_from(now_ms / 1_000).unwrap_or(0);
        given.meanwhile = timers::check(&progress, progress.first_pending, now_ms);
        self.say_files(now_ms, &progress, &mut given);
        pops::put_known_timers(&mut entries, progress.first_timer);
        let check = ApacheFile::TimerCheck.name();
        state::put_known_file(&mut entries, check, crc32fast::hash(&given.meanwhile));
        state::put_known_file(&mut entries, MODIFIED, given.modified_s);
        for (file, bytes) in &given.files {
            state::put_known_file(&mut entries, file.name(), crc32fast::hash(bytes));
        }
        self.state.apply_all(&entries)?;
        self.changes.extend_from_slice(&entries);
        // What the log says of it is sealed too.
        self.sealed_for_shutdown = false;
        self.write_changes(now_ms).map_err(refused)?;
        Ok(given)
    }

    /// A message of one of Apache's own topics.
    fn append_for_apache(
        &mut self,
        now_ms: i64,
        (topic, queue_id): (&str, u32),
        properties: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Appended, AppendError> {
        let properties: PropertiesBuf = properties.iter().copied().collect();
        self.store.append(
            now_ms,
            &NewMessage {
                topic,
                queue_id,
                flag: 0,
                sys_flag: 0,
                born_ms: now_ms,
                born_host: self.config.host,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body,
                properties: properties.as_bytes(),
            },
        )
    }
}
