//! What Apache RocketMQ left in a data directory beside its log, and what it needs there to go on with it.

mod write;

use crate::{file, report};
use anyhow::{Context, Result, anyhow, bail};
use kerolox_broker::{Adopted, ApacheFile, ApacheFiles, GivenBack};
use kerolox_wire::body;
use serde::de::IgnoredAny;
use std::io;
use std::path::Path;

/// Bytes of a file that are read at most: far more than Apache's own memory allows.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Values of a file at most, counted by their commas: more than all limits of a broker together need. Each takes some hundred bytes of
/// memory meanwhile.
const VALUES_MAX: usize = 1 << 22;
/// What all versions of Apache write of it.
const TIMER_CHECK_BYTES_MIN: usize = 32;
/// Where Apache's `RocksDBConfigManager` and the version after it keep what is in JSON files otherwise.
const ROCKSDB: [&str; 2] = ["metadata", "topics"];

/// Reads Apache's files below `config/`; of one that is absent, empty or torn its backup, as Apache does.
///
/// # Errors
/// A file that cannot be read, or is damaged and has no backup, or settings that are kept in RocksDB.
pub(super) fn read(data: &Path) -> Result<ApacheFiles> {
    let dir = data.join("config");
    let mut files = ApacheFiles::default();
    for file in ApacheFile::ALL {
        let path = dir.join(file.name());
        let backup = dir.join(format!("{}.bak", file.name()));
        let mut is_there = false;
        for path in [&path, &backup] {
            let Some(bytes) = read_file(path)? else { continue };
            is_there = true;
            let values = bytes.iter().filter(|byte| **byte == b',').count();
            if values > VALUES_MAX && file != ApacheFile::TimerCheck {
                bail!("{} holds {values} values: more than {VALUES_MAX} are not read", path.display());
            }
            if is_whole(file, &bytes) {
                files.0.insert(file, bytes.into());
                break;
            }
        }
        if is_there && !files.0.contains_key(&file) {
            bail!(
                "{} is damaged and {} does not help: put back what they were, or remove both if nothing of it is needed",
                path.display(),
                backup.display()
            );
        }
    }
    if !files.0.contains_key(&ApacheFile::Topics)
        && let Some(name) = ROCKSDB.iter().find(|name| dir.join(name).is_dir())
    {
        bail!(
            "{} holds Apache RocketMQ's settings in RocksDB, which cannot be read here: have Apache write them to JSON files first (mqadmin rocksDBConfigToJson, or useSeparateStoreForLMQ and enableConfigManagerV2 off)",
            dir.join(name).display()
        );
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match file::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Apache overwrites its files in place: one that a crash caught at it is cut, or none.
fn is_whole(file: ApacheFile, bytes: &[u8]) -> bool {
    match file {
        ApacheFile::TimerCheck => bytes.len() >= TIMER_CHECK_BYTES_MIN,
        _ => body::from_json::<IgnoredAny>(bytes).is_ok(),
    }
}

/// Says what was taken over.
pub(super) fn tell(adopted: &Adopted) {
    let Adopted { topics, groups, offsets, half_messages, timers, in_flight, .. } = adopted;
    if adopted.files > 0 {
        report::line(&format!(
            "taken over from Apache RocketMQ: {topics} topics, {groups} groups, {offsets} offsets; still to come: {half_messages} half messages, {timers} timer messages, {in_flight} popped messages"
        ));
    }
    for topic in &adopted.gone_topics {
        report::line(&format!(
            "messages of the topic {topic} lie in the log, and the topic was deleted: they are not served"
        ));
    }
}

/// Writes what Apache needs, if it may be: says so if not.
pub(super) fn give_back(data: &Path, given: Result<GivenBack, String>, timer_file_bytes: u64, now_ms: i64) {
    let written = given.map_err(|why| anyhow!(why)).and_then(|given| {
        write::write(data, &given, timer_file_bytes, now_ms)?;
        for what in &given.lost {
            report::line(&format!("warning: Apache RocketMQ would not go on with this: {what}"));
        }
        Ok(())
    });
    if let Err(e) = written {
        report::line(&format!(
            "warning: Apache RocketMQ must not open this data directory before the next end in order: {e:#}"
        ));
    }
}
