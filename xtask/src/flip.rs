//! `cargo xtask flip`: acknowledged messages, one bit of the log flipped at a random place while the server is down, and then:
//! what is lost, what is served wrongly, what is said about it? Kerolox and Apache RocketMQ, in the same way.

mod injury;
mod rot;

use crate::compare::server::{ANY_DISK, Kind, Server, fetch_apache};
use crate::ledger;
use crate::ledger::body::Random;
use crate::ledger::producer::{self, Producer};
use crate::ledger::verify::Verifier;
use crate::steps;
use anyhow::{Context, Result, bail, ensure};
use kerolox_wire::record::RecordHead;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MESSAGES: usize = 20_000;
/// Small segments: several of them, and quick to copy.
const SETTINGS: &str = "flushDiskType=SYNC_FLUSH\nmappedFileSizeCommitLog=4194304\n";
const SEGMENT_BYTES: u64 = 4 << 20;

struct Options {
    places: u32,
    apache_places: u32,
    /// Injuries of all kinds, of all parts of a store.
    rot: u64,
    apache_rot: u64,
    seed: u64,
    offset: u16,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options =
        Options { places: 100, apache_places: 10, rot: 0, apache_rot: 0, seed: 1, offset: 18_000 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--places" => options.places = value.parse()?,
            "--apache-places" => options.apache_places = value.parse()?,
            "--rot" => options.rot = value.parse()?,
            "--apache-rot" => options.apache_rot = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            "--port-offset" => options.offset = value.parse()?,
            _ => bail!("flip: unknown option {arg}"),
        }
    }
    Ok(options)
}

/// What all places of one server came to.
#[derive(Debug, Default)]
struct Found {
    places: u32,
    lost: u64,
    lost_most: u64,
    wrong: u64,
    /// Places that cost a message and of which nothing was said.
    unsaid: u32,
    failed_starts: u32,
}

/// True if Kerolox lost no more than the record that was hit, served nothing wrong and said so.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let options = options(args)?;
    if u64::from(options.places) + options.rot > 0 {
        steps::build_release()?;
    }
    let ours = match options.places {
        0 => Found::default(),
        places => flips(Kind::Kerolox, places, &options, Path::new(""))?,
    };
    println!("kerolox: {ours:?}");
    if options.apache_places > 0 {
        let theirs = flips(Kind::Apache, options.apache_places, &options, &fetch_apache()?)?;
        println!("apache: {theirs:?}");
    }
    let held = ours.lost_most <= 1 && ours.wrong == 0 && ours.unsaid == 0 && ours.failed_starts == 0;
    Ok(rots(Kind::Kerolox, options.rot, &options)? & held & rots(Kind::Apache, options.apache_rot, &options)?)
}

/// Injuries of all kinds; true if all is held that is promised. Of Apache nothing is asked.
fn rots(kind: Kind, count: u64, options: &Options) -> Result<bool> {
    if count == 0 {
        return Ok(true);
    }
    let apache = if kind == Kind::Apache { fetch_apache()? } else { PathBuf::new() };
    let server =
        Server::prepare("rot", kind, &format!("{}{ANY_DISK}", rot::SETTINGS), options.offset, &apache)?;
    let result = rot::rot(&server, kind, count, options);
    server.end();
    let _ = std::fs::remove_dir_all(kept(&server));
    let costs = result?;
    costs.iter().for_each(|(part, cost)| println!("{}, {part}: {cost:?}", kind.name()));
    Ok(kind == Kind::Apache || costs.values().all(rot::Cost::is_held))
}

fn flips(kind: Kind, places: u32, options: &Options, apache: &Path) -> Result<Found> {
    let server = Server::prepare("flip", kind, &format!("{SETTINGS}{ANY_DISK}"), options.offset, apache)?;
    let result = flip_all(&server, kind, places, options);
    server.end();
    let _ = std::fs::remove_dir_all(kept(&server));
    result
}

/// Where the data directory is kept as it was before the flip.
fn kept(server: &Server) -> PathBuf {
    server.data().with_extension("kept")
}

fn flip_all(server: &Server, kind: Kind, places: u32, options: &Options) -> Result<Found> {
    let mut random = Random::new(options.seed);
    let mut found = Found::default();
    for kill in [false, true] {
        let producers = fill(server, kill)?;
        let log = Log::walk(&server.data())?;
        for _ in 0..places.div_ceil(2) {
            copy(&kept(server), &server.data())?;
            let place = log.pick(&mut random);
            place.flip(&server.data(), random.next())?;
            let said_before = server.said().len();
            let (lost, wrong) = match server.start_to_first_send() {
                Ok(_) => read_back(server, &producers)?,
                Err(_) => {
                    found.failed_starts += 1;
                    (MESSAGES as u64, 0)
                }
            };
            // Whatever state it is in; the next place begins with a copy.
            let _ = server.kill();
            let said = server.said().get(said_before..).unwrap_or_default().contains("DAMAGED record");
            println!(
                "{}, {}: byte {} of {}: {lost} lost, {wrong} wrong{}",
                kind.name(),
                if kill { "killed" } else { "stopped" },
                place.at,
                place.file,
                if said { ", said so" } else { "" }
            );
            found.places += 1;
            found.lost += lost;
            found.lost_most = found.lost_most.max(lost);
            found.wrong += wrong;
            found.unsaid += u32::from(lost > 0 && !said && kind == Kind::Kerolox);
        }
    }
    Ok(found)
}

/// A server of an empty data directory, and so many acknowledged messages.
fn begin_anew(server: &Server, messages: usize) -> Result<Producer> {
    for folder in [server.data(), kept(server)] {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
    }
    server.start_to_first_send()?;
    producer::create_topic(server.broker(), ledger::TOPIC)?;
    let mut producer = Producer::new(1);
    producer.send_all(server.broker(), messages)?;
    Ok(producer)
}

/// Ends the server and keeps its data directory for copies.
fn keep(server: &Server, kill: bool) -> Result<()> {
    if kill {
        server.kill()?
    } else {
        server.stop()?
    }
    copy(&server.data(), &kept(server))
}

/// A data directory with acknowledged messages, kept for copies; the server is down.
fn fill(server: &Server, kill: bool) -> Result<Vec<Producer>> {
    let producer = begin_anew(server, MESSAGES)?;
    keep(server, kill)?;
    Ok(vec![producer])
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    let copied = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp failed");
    Ok(())
}

/// Messages that are gone, and answers that are wrong.
fn read_back(server: &Server, producers: &[Producer]) -> Result<(u64, u64)> {
    let mut verifier = Verifier::default();
    if let Err(e) = verifier.read(server.broker()) {
        println!("   reading ended: {e:#}");
    }
    let totals = verifier.compare(producers);
    Ok((totals.lost, totals.corrupt + totals.displaced + totals.duplicated))
}

/// The segments of a log and how far each is used.
struct Log(Vec<(String, u64)>);

impl Log {
    fn walk(data: &Path) -> Result<Self> {
        let mut files: Vec<_> = std::fs::read_dir(data.join("commitlog"))?.collect::<std::io::Result<_>>()?;
        files.sort_by_key(std::fs::DirEntry::file_name);
        let mut used = Vec::new();
        for file in files {
            let bytes = std::fs::read(file.path())?;
            ensure!(bytes.len() as u64 == SEGMENT_BYTES, "a segment has another size than was asked for");
            let mut at = 0;
            while let Some(head) = bytes.get(at..).and_then(RecordHead::peek).filter(|h| h.is_record()) {
                at += head.total as usize;
            }
            if at > 0 {
                used.push((file.file_name().to_string_lossy().into_owned(), at as u64));
            }
        }
        ensure!(used.len() > 2, "the log has only {} segments", used.len());
        Ok(Self(used))
    }

    /// Any byte of the log with the same probability; one in four in the newest segment.
    fn pick(&self, random: &mut Random) -> Place {
        let all: u64 = self.0.iter().map(|(_, used)| used).sum();
        let newest = self.0.last().map_or(0, |(_, used)| *used);
        let mut at = if random.next().is_multiple_of(4) {
            all - newest + random.next() % newest
        } else {
            random.next() % all
        };
        for (file, used) in &self.0 {
            if at < *used {
                return Place { file: file.clone(), at };
            }
            at -= used;
        }
        Place { file: String::new(), at: 0 }
    }
}

struct Place {
    file: String,
    at: u64,
}

impl Place {
    /// Flips one bit.
    fn flip(&self, data: &Path, random: u64) -> Result<()> {
        let path = data.join("commitlog").join(&self.file);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.at)?;
        file.write_all_at(&byte.map(|b| b ^ (1 << (random % 8))), self.at)?;
        Ok(())
    }
}
