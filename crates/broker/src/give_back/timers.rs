//! Timer messages that wait: Apache's timer log, of which it makes its wheel anew.

use super::Progress;
use crate::adopt::Log;
use crate::state::State;
use bytes::{BufMut, Bytes};
use kerolox_wire::names;
use std::collections::HashMap;

/// A timer message that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingTimer {
    /// To the second.
    pub due_ms: i64,
    pub position: u64,
    /// Bytes of its record.
    pub size: u32,
}

/// One file of the timer log, without the zeros that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerLogFile {
    /// Position of its first byte, which is its name.
    pub start: u64,
    pub bytes: Vec<u8>,
}

/// Source: `TimerLog.UNIT_SIZE`.
const UNIT_BYTES: u64 = 52;
/// What Apache closes a full file with: length, zero, magic. Source: `TimerLog.MIN_BLANK_LEN`, `BLANK_MAGIC_CODE`.
const BLANK_BYTES: u64 = 16;
const BLANK_MAGIC: u32 = 0xBBCC_DDEE ^ (1_880_681_586 + 8);
/// Source: `TimerMessageStore.MAGIC_DEFAULT`, `MAGIC_ROLL`.
const MAGIC: u32 = 1;
const MAGIC_ROLL: u32 = 1 << 1;
/// What is due later is put anew when that time has passed. Source: `MessageStoreConfig.timerRollWindowSlot`.
const ROLL_MS: i64 = 2 * 24 * 3_600_000;
/// Apache's wheel turns by seconds. Source: `MessageStoreConfig.timerPrecisionMs`.
const SECOND_MS: i64 = 1_000;

/// What the timer log is made of.
pub(super) struct Units {
    /// In the order of the timer topic.
    pub(super) pending: Vec<PendingTimer>,
    /// Offset of the first of them there.
    pub(super) first_pending: Option<u64>,
    /// Until when all was delivered: Apache never looks for what is due before.
    pub(super) read_ms: i64,
}

pub(super) fn units(state: &State, now_ms: i64, log: &mut Log<'_>) -> Result<Units, String> {
    let mut units = Units { pending: Vec::new(), first_pending: None, read_ms: second(now_ms) };
    let mut last = None;
    log.each_entry(names::WHEEL_TIMER_TOPIC, 0, state.timers.floor, &mut |entry| {
        let due = (entry.tag_code, entry.offset);
        let is_pending = due > state.timers.done && !state.timers.recalled.contains(&due);
        // What is late is so by seconds: the broker was there to deliver it.
        let due_ms = second(due.0).max(second(now_ms) - ROLL_MS);
        let unit = PendingTimer { due_ms, position: entry.position, size: entry.size };
        if is_pending {
            units.read_ms = units.read_ms.min(due_ms);
            units.first_pending.get_or_insert(entry.offset);
            units.pending.push(unit);
        }
        last = Some(unit).filter(|_| !is_pending);
    })?;
    // Apache goes on behind the message of the last unit, so that has to be the topic's last. It lies where nobody looks any more.
    if !units.pending.is_empty() {
        let due_ms = units.read_ms - SECOND_MS;
        units.pending.extend(last.map(|unit| PendingTimer { due_ms, ..unit }));
    }
    Ok(units)
}

/// Apache rounds down, and delivers a second later.
fn second(ms: i64) -> i64 {
    ms - ms.rem_euclid(SECOND_MS)
}

/// The contents of `config/timercheck`. Apache reads the whole timer log again, and the timer topic from behind its last message, but from
/// `next` at the latest. Source: `TimerCheckpoint`, `TimerMessageStore.recover`.
pub(super) fn check(progress: &Progress, next: u64, now_ms: i64) -> Bytes {
    let mut bytes = Vec::with_capacity(56);
    bytes.put_i64(progress.timers_read_ms);
    bytes.put_i64(0);
    // Once as master and once as replica.
    bytes.put_u64(next);
    bytes.put_u64(next);
    // Which version of itself it is: state version, time, count.
    bytes.put_i64(0);
    bytes.put_i64(now_ms);
    bytes.put_i64(1);
    bytes.into()
}

/// Apache's timer log in files of `file_bytes`: for each message a unit, which names the one before it in the same second. Source:
/// `TimerMessageStore.doEnqueue`, `recover`.
pub fn timer_log(
    pending: &[PendingTimer],
    file_bytes: u64,
    now_ms: i64,
) -> impl Iterator<Item = TimerLogFile> {
    let units = (file_bytes.saturating_sub(BLANK_BYTES) / UNIT_BYTES).max(1) as usize;
    let mut last_of: HashMap<i64, u64> = HashMap::new();
    let files = pending.chunks(units).count();
    pending.chunks(units).enumerate().map(move |(index, timers)| {
        let start = index as u64 * file_bytes;
        let mut bytes = Vec::with_capacity(timers.len() * UNIT_BYTES as usize);
        for timer in timers {
            let at = start + bytes.len() as u64;
            put_unit(&mut bytes, timer, at, now_ms, &mut last_of);
        }
        if index + 1 < files {
            let left = file_bytes - bytes.len() as u64;
            bytes.put_u32(left as u32);
            bytes.put_u64(0);
            bytes.put_u32(BLANK_MAGIC);
        }
        TimerLogFile { start, bytes }
    })
}

fn put_unit(
    bytes: &mut Vec<u8>,
    timer: &PendingTimer,
    at: u64,
    now_ms: i64,
    last_of: &mut HashMap<i64, u64>,
) {
    let now_ms = second(now_ms);
    let (magic, due_ms) = match timer.due_ms.saturating_sub(now_ms) {
        wait if wait < ROLL_MS => (MAGIC, timer.due_ms),
        // So that the next time is not the last moment.
        wait if wait - ROLL_MS < ROLL_MS / 3 => (MAGIC | MAGIC_ROLL, now_ms + ROLL_MS / 2),
        _ => (MAGIC | MAGIC_ROLL, now_ms + ROLL_MS),
    };
    bytes.put_u32(UNIT_BYTES as u32);
    bytes.put_i64(last_of.insert(due_ms, at).map_or(-1, u64::cast_signed));
    bytes.put_u32(magic);
    bytes.put_i64(now_ms);
    bytes.put_i32((due_ms - now_ms) as i32); // holds because it is two days and a second at most, either way
    bytes.put_u64(timer.position);
    bytes.put_u32(timer.size);
    // A hash of the topic, for counts.
    bytes.put_u32(0);
    bytes.put_u64(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    const NOW_MS: i64 = 1_700_000_000_400;

    /// Position of the one before, magic, how much later.
    fn units(mut bytes: &[u8]) -> Vec<(i64, u32, i32)> {
        let mut units = Vec::new();
        while bytes.len() >= UNIT_BYTES as usize {
            assert_eq!(bytes.get_u32(), 52);
            let (previous, magic) = (bytes.get_i64(), bytes.get_u32());
            assert_eq!(bytes.get_i64(), NOW_MS - 400);
            units.push((previous, magic, bytes.get_i32()));
            assert_eq!((bytes.get_u64(), bytes.get_u32()), (77, 300));
            bytes.advance(12);
        }
        units
    }

    fn pending(waits_ms: &[i64]) -> Vec<PendingTimer> {
        let timer = |wait: &i64| PendingTimer { due_ms: second(NOW_MS) + wait, position: 77, size: 300 };
        waits_ms.iter().map(timer).collect()
    }

    #[test]
    fn units_of_one_second_are_chained_and_far_ones_are_put_anew() {
        let day = 24 * 3_600_000;
        let pending = pending(&[5_000, 6_000, 5_000, -1_000, 2 * day, 39 * day]);
        let files: Vec<TimerLogFile> = timer_log(&pending, 1 << 20, NOW_MS).collect();
        let [file] = &files[..] else { panic!("{} files", files.len()) };
        let want = [
            (-1, 1, 5_000),
            (-1, 1, 6_000),
            (0, 1, 5_000),
            (-1, 1, -1_000),
            (-1, 3, day as i32),
            (-1, 3, 2 * day as i32),
        ];
        assert_eq!((file.start, units(&file.bytes)), (0, want.to_vec()));
        assert_eq!(timer_log(&[], 1 << 20, NOW_MS).count(), 0);
    }

    #[test]
    fn a_full_file_is_closed_and_the_next_goes_on_with_the_chain() {
        let file_bytes = 2 * UNIT_BYTES + BLANK_BYTES + 7;
        let pending = pending(&[5_000, 5_000, 5_000]);
        let files: Vec<TimerLogFile> = timer_log(&pending, file_bytes, NOW_MS).collect();
        let [first, second] = &files[..] else { panic!("{} files", files.len()) };
        assert_eq!(units(&first.bytes), [(-1, 1, 5_000), (0, 1, 5_000)]);
        let blank = [&23_u32.to_be_bytes()[..], &[0; 8], &BLANK_MAGIC.to_be_bytes()].concat();
        assert_eq!(first.bytes[104..], blank);
        assert_eq!((second.start, units(&second.bytes)), (file_bytes, vec![(52, 1, 5_000)]));
    }
}
