//! The way back: Apache's files.
//!
//! All of them are written apart before the first is put in its place: a full disk changes nothing. While they are put there Apache could
//! begin after any of the steps, and would lose nothing: it finds each file whole, and reads the timer topic from the first message that
//! waits until the timer log is there.

use anyhow::{Context, Result};
use kerolox_broker::{ApacheFile, GivenBack, timer_log};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TIMER_LOG: &str = "timerlog";
/// Apache makes it anew of the timer log.
const TIMER_WHEEL: &str = "timerwheel";
/// Where files lie until all are written.
const APART: &str = "kerolox";

/// Writes all of it. `timer_file_bytes`: size of a file of the timer log, unless there is one.
///
/// # Errors
/// A file that cannot be written.
pub(in crate::broker) fn write(
    data: &Path,
    given: &GivenBack,
    timer_file_bytes: u64,
    now_ms: i64,
) -> Result<()> {
    let apart = data.join("config").join(APART);
    let steps = prepare(data, &apart, given, timer_file_bytes, now_ms);
    let taken = steps.and_then(|steps| steps.iter().try_for_each(Step::take));
    let removed = if_there(fs::remove_dir_all(&apart));
    taken.and_then(|()| removed.with_context(|| format!("cannot remove {}", apart.display())))
}

/// A change of what Apache finds.
enum Step {
    /// From, to.
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Step {
    /// Takes it, for good.
    fn take(&self) -> Result<()> {
        let (path, taken) = match self {
            Self::Rename(from, to) => (to, fs::rename(from, to)),
            Self::Remove(path) => (path, if_there(fs::remove_file(path))),
        };
        let synced = taken.and_then(|()| path.parent().map_or(Ok(()), sync_dir));
        synced.with_context(|| format!("cannot replace {}", path.display()))
    }
}

/// Writes all files into the folder `apart`; what is to be done with them.
fn prepare(
    data: &Path,
    apart: &Path,
    given: &GivenBack,
    timer_file_bytes: u64,
    now_ms: i64,
) -> Result<Vec<Step>> {
    let (config, timer_log_dir) = (data.join("config"), data.join(TIMER_LOG));
    if_there(fs::remove_dir_all(apart)).with_context(|| format!("cannot remove {}", apart.display()))?;
    for dir in [&config, &timer_log_dir, apart] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let old = parts(&timer_log_dir).with_context(|| format!("cannot read {}", timer_log_dir.display()))?;
    let file_bytes = old.iter().map(|part| part.1).find(|bytes| *bytes > 0).unwrap_or(timer_file_bytes);
    // See `untouched` in the module above.
    let modified = UNIX_EPOCH + Duration::from_secs(given.modified_s.into());
    let mut steps = Vec::new();
    let meanwhile = apart.join("meanwhile");
    write_new(&meanwhile, &given.meanwhile, None, modified)?;
    steps.push(Step::Rename(meanwhile, config.join(ApacheFile::TimerCheck.name())));
    steps.push(Step::Remove(data.join(TIMER_WHEEL)));
    steps.extend(old.into_iter().map(|(path, _)| Step::Remove(path)));
    for part in timer_log(&given.timers, file_bytes, now_ms) {
        let name = format!("{:020}", part.start);
        write_new(&apart.join(&name), &part.bytes, Some(file_bytes), modified)?;
        steps.push(Step::Rename(apart.join(&name), timer_log_dir.join(&name)));
    }
    for (file, bytes) in &given.files {
        // A backup that is older than Kerolox would be taken for what Apache wrote last, should the file itself be damaged.
        let backup = format!("{}.bak", file.name());
        let backup = config.join(&backup).exists().then_some(backup);
        for name in backup.into_iter().chain([file.name().to_owned()]) {
            write_new(&apart.join(&name), bytes, None, modified)?;
            steps.push(Step::Rename(apart.join(&name), config.join(&name)));
        }
    }
    for dir in [data, &config, apart] {
        sync_dir(dir).with_context(|| format!("cannot sync {}", dir.display()))?;
    }
    Ok(steps)
}

/// What is not written up to `len` takes no room. `modified`: the time that is put on it.
fn write_new(path: &Path, bytes: &[u8], len: Option<u64>, modified: SystemTime) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        len.map_or(Ok(()), |len| file.set_len(len))?;
        file.set_modified(modified)?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The files of the timer log, and how long they are.
fn parts(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.len() == 20 && name.parse::<u64>().is_ok()) {
            parts.push((entry.path(), entry.metadata()?.len()));
        }
    }
    Ok(parts)
}

fn if_there(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kerolox_broker::PendingTimer;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};

    const TIMER_FILE: &str = "timerlog/00000000000000000000";

    fn given(age: &str, timers: usize) -> GivenBack {
        let files = [ApacheFile::Topics, ApacheFile::Offsets, ApacheFile::TimerCheck];
        GivenBack {
            files: files.map(|file| (file, Bytes::from(format!("{age} {}", file.name())))).to_vec(),
            meanwhile: Bytes::from(format!("{age} meanwhile")),
            modified_s: 1_000_000,
            timers: vec![PendingTimer { due_ms: 5_000, position: 77, size: 300 }; timers],
            lost: Vec::new(),
        }
    }

    /// All files below a folder but those that lie apart, by their paths.
    fn found(data: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for dir in ["config", TIMER_LOG, "."] {
            for entry in fs::read_dir(data.join(dir)).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() {
                    let name = format!("{dir}/{}", entry.file_name().to_str().unwrap());
                    found.insert(name, fs::read(entry.path()).unwrap());
                }
            }
        }
        found
    }

    struct Folder(PathBuf);

    impl Folder {
        fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// As after a clean end and a run of Apache's, which made a wheel.
    fn old_directory() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kerolox-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Folder(std::env::temp_dir().join(name));
        fs::create_dir(dir.path()).unwrap();
        write(dir.path(), &given("old", 40), 256, 0).unwrap();
        fs::write(dir.path().join(TIMER_WHEEL), "wheel").unwrap();
        fs::write(dir.path().join("config/topics.json.bak"), "older").unwrap();
        dir
    }

    #[test]
    fn a_cut_after_any_step_leaves_whole_files_and_a_timer_log_that_is_not_needed() {
        let whole = {
            let dir = old_directory();
            write(dir.path(), &given("new", 30), 512, 0).unwrap();
            found(dir.path())
        };
        let old = found(old_directory().path());
        let mut taken = 0;
        loop {
            let dir = old_directory();
            let apart = dir.path().join("config").join(APART);
            let steps = prepare(dir.path(), &apart, &given("new", 30), 512, 0).unwrap();
            steps.iter().take(taken).for_each(|step| step.take().unwrap());
            let now = found(dir.path());
            let check = &now["config/timercheck"];
            for (name, bytes) in now.iter().filter(|(name, _)| *name != "config/timercheck") {
                assert!(Some(bytes) == old.get(name) || Some(bytes) == whole.get(name), "{taken}: {name}");
            }
            let of_timers = |files: &BTreeMap<String, Vec<u8>>| {
                files.iter().filter(|(name, _)| name.contains("timer") && !name.contains("check")).count()
            };
            match &check[..] {
                b"old timercheck" => assert_eq!(now, old),
                b"new timercheck" => assert_eq!(now, whole),
                b"new meanwhile" => assert!(taken > 0 && of_timers(&now) <= of_timers(&old)),
                other => panic!("{other:?}"),
            }
            // The next end goes on from there.
            write(dir.path(), &given("new", 30), 256, 0).unwrap();
            assert_eq!(found(dir.path()), whole, "{taken}");
            if taken == steps.len() {
                break;
            }
            taken += 1;
        }
        // The old files of the timer log say how long new ones are.
        assert_eq!((whole[TIMER_FILE].len(), whole.len()), (256, 4 + 8));
        assert_eq!(whole["config/topics.json.bak"], b"new topics.json");
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let dir = old_directory();
        let old = found(dir.path());
        // The last that is written cannot be.
        let mut new = given("new", 30);
        new.files.push((ApacheFile::Groups, Bytes::from("groups")));
        let apart = dir.path().join("config").join(APART);
        fs::write(&apart, "in the way").unwrap();
        let why = format!("{:#}", write(dir.path(), &new, 512, 0).unwrap_err());
        assert!(why.contains("cannot remove") && why.contains("kerolox"), "{why}");
        fs::remove_file(&apart).unwrap();
        assert_eq!(found(dir.path()), old);
    }
}
