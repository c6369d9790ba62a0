//! The way back: Apache's files.

use anyhow::{Context, Result};
use kerolox_broker::{ApacheFile, GivenBack, timer_log};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Size of a file of the timer log, unless there is one. Source: `MessageStoreConfig.mappedFileSizeTimerLog`.
const TIMER_LOG_FILE_BYTES: u64 = 100 << 20;
const TIMER_LOG: &str = "timerlog";
/// Apache makes it anew of the timer log.
const TIMER_WHEEL: &str = "timerwheel";

/// Writes all of it. What Apache would read is whole at any time, but of different ages until the end.
///
/// # Errors
/// A file that cannot be written.
pub(in crate::broker) fn write(data: &Path, given: &GivenBack, now_ms: i64) -> Result<()> {
    let config = data.join("config");
    fs::create_dir_all(&config).with_context(|| format!("cannot make {}", config.display()))?;
    sync_dir(data)?;
    write_timer_log(data, given, now_ms)?;
    for (file, bytes) in &given.files {
        // Apache reads this one only with light message queues on; it is there if they ever were.
        if *file != ApacheFile::LmqOffsets || config.join(file.name()).exists() {
            replace(&config, file.name(), bytes)?;
        }
    }
    Ok(())
}

/// Puts a file in the place of another.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.kerolox")));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&new, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("cannot sync {}", dir.display()))
}

fn write_timer_log(data: &Path, given: &GivenBack, now_ms: i64) -> Result<()> {
    let dir = data.join(TIMER_LOG);
    let failed = || format!("cannot write {}", dir.display());
    let file_bytes = clear(&dir).with_context(failed)?.unwrap_or(TIMER_LOG_FILE_BYTES);
    match fs::remove_file(data.join(TIMER_WHEEL)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(e).context("cannot remove the timer wheel");
        }
        _ => {}
    }
    for part in timer_log(&given.timers, file_bytes, now_ms) {
        let mut file = File::create(dir.join(format!("{:020}", part.start))).with_context(failed)?;
        // Apache wants all of the file; what is not written takes no room.
        let written = file.write_all(&part.bytes).and_then(|()| file.set_len(file_bytes));
        written.and_then(|()| file.sync_all()).with_context(failed)?;
    }
    sync_dir(&dir)?;
    sync_dir(data)
}

/// Removes the files of the timer log; how long they were.
fn clear(dir: &Path) -> io::Result<Option<u64>> {
    fs::create_dir_all(dir)?;
    let mut file_bytes = None;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_part =
            entry.file_name().to_str().is_some_and(|name| name.len() == 20 && name.parse::<u64>().is_ok());
        if is_part {
            file_bytes = Some(entry.metadata()?.len()).filter(|len| *len > 0).or(file_bytes);
            fs::remove_file(entry.path())?;
        }
    }
    Ok(file_bytes)
}
