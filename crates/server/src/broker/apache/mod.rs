//! What Apache RocketMQ left in a data directory beside its log, and what it needs there to go on with it.

mod write;

use crate::{file, report};
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use kerolox_broker::{Adopted, ApacheFile, ApacheFiles, GivenBack, State};
use kerolox_wire::body;
use serde::de::IgnoredAny;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Bytes of a file that are read at most: far more than Apache's own memory allows.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Values of a file at most, counted by their commas: more than all limits of a broker together need. Each takes some hundred bytes of
/// memory meanwhile.
const VALUES_MAX: usize = 1 << 22;
/// What all versions of Apache write of it.
const TIMER_CHECK_BYTES_MIN: usize = 32;
/// Where Apache's `RocksDBConfigManager` and the version after it keep what is in JSON files otherwise.
const ROCKSDB: [&str; 2] = ["metadata", "topics"];

/// A file as it was found.
struct Found {
    file: ApacheFile,
    path: PathBuf,
    bytes: Vec<u8>,
    /// When it was written, where that is a whole second.
    modified_s: Option<u32>,
}

/// Reads Apache's files below `config/`; of one that is absent, empty or torn its backup, as Apache does. `state`: what the log says.
///
/// # Errors
/// A file that cannot be read, or is damaged and has no backup, or settings that are kept in RocksDB.
pub(super) fn read(data: &Path, state: &State) -> Result<ApacheFiles> {
    let dir = data.join("config");
    let mut found = Vec::new();
    for file in ApacheFile::ALL {
        for name in [file.name().to_owned(), format!("{}.bak", file.name())] {
            let path = dir.join(name);
            if let Some((bytes, modified_s)) = read_file(&path)? {
                found.push(Found { file, path, bytes, modified_s });
            }
        }
    }
    let rotten = untouched(&mut found, state);
    let mut files = ApacheFiles::default();
    for Found { file, path, bytes, .. } in &found {
        let values = bytes.iter().filter(|byte| **byte == b',').count();
        if values > VALUES_MAX && *file != ApacheFile::TimerCheck {
            bail!("{} holds {values} values: more than {VALUES_MAX} are not read", path.display());
        }
        if is_whole(*file, bytes) {
            files.0.entry(*file).or_insert_with(|| Bytes::copy_from_slice(bytes));
        }
    }
    if let Some(damaged) =
        found.iter().find(|found| !files.0.contains_key(&found.file) && !rotten.contains(&found.file))
    {
        bail!(
            "{} is damaged and there is no backup that helps: put back what it was, or remove it with its backup if nothing of it is needed",
            damaged.path.display()
        );
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

/// Leaves out what nobody wrote since a clean end of Kerolox, and is not what was written then: it has the time that the clean end put on its
/// files, and other bytes, so it has rotted. All of it stands in the log. Gives these.
fn untouched(found: &mut Vec<Found>, state: &State) -> BTreeSet<ApacheFile> {
    let has_rotted =
        |f: &Found| f.modified_s.is_some_and(|at| state.put_time(at)) && !state.knows_file(f.file, &f.bytes);
    let rotten: BTreeSet<ApacheFile> = found.iter().filter(|f| has_rotted(f)).map(|f| f.file).collect();
    for f in found.iter().filter(|f| has_rotted(f)) {
        report::line(&format!(
            "warning: {} is damaged: nobody wrote it since the last clean end, and it is not what was written then. The log has all of it",
            f.path.display()
        ));
    }
    found.retain(|f| !has_rotted(f));
    rotten
}

fn read_file(path: &Path) -> Result<Option<(Vec<u8>, Option<u32>)>> {
    match file::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => {
            let modified = path.metadata().and_then(|metadata| metadata.modified()).ok();
            let modified = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let whole = modified.filter(|at| at.subsec_nanos() == 0);
            Ok(Some((bytes, whole.and_then(|at| u32::try_from(at.as_secs()).ok()))))
        }
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
    for name in &adopted.old_files {
        report::line(&format!(
            "config/{name} is one that was taken over, or written, at an earlier time: it does not count, what the log says since does"
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
