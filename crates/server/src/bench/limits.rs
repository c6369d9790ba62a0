//! `bench limits`: what the machine can do, as a yardstick for everything else.

use super::Limits;
use anyhow::{Context, Result};
use rustix::fs::FallocateFlags;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The file that is written: as much as a run of the slowest figure will not fill.
const FILE_BYTES: u64 = 256 << 20;

pub(super) fn run(args: &Limits) -> Result<()> {
    std::fs::create_dir_all(&args.data)
        .with_context(|| format!("cannot use the folder {}", args.data.display()))?;
    let path = args.data.join("bench-limits.tmp");
    let figures = measure(args, &path);
    // Whatever came out of it, the file is not to stay.
    let removed = std::fs::remove_file(&path);
    let figures = figures?;
    removed?;
    if args.json {
        let object: serde_json::Map<_, _> = figures
            .iter()
            .map(|f| (f.name.to_owned(), serde_json::json!({"value": f.value, "unit": f.unit})))
            .collect();
        println!("{}", serde_json::Value::Object(object));
    } else {
        for f in figures {
            println!("{:<42} {:>12.1} {}", f.name, f.value, f.unit);
        }
    }
    Ok(())
}

struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
}

fn measure(args: &Limits, path: &Path) -> Result<Vec<Figure>> {
    let time = Duration::from_secs_f64(args.duration);
    let mut figures = Vec::new();
    let mut add = |name, value, unit| figures.push(Figure { name, value, unit });
    for (size, names) in [
        (
            4 << 10,
            ["fdatasync, appending 4 KiB", "fdatasync, fallocated 4 KiB", "fdatasync, overwriting 4 KiB"],
        ),
        (
            512 << 10,
            [
                "fdatasync, appending 512 KiB",
                "fdatasync, fallocated 512 KiB",
                "fdatasync, overwriting 512 KiB",
            ],
        ),
    ] {
        for (kind, name) in [Kind::Append, Kind::Fallocated, Kind::Written].into_iter().zip(names) {
            add(name, syncs(path, kind, size, time)?, "/s");
        }
    }
    add("sequential write, 1 MiB, synced at the end", bandwidth(path, time)?, "MiB/s");
    let (round_trips, loopback) = loopback(time)?;
    add("loopback round trip, 64 B", 1e6 / round_trips, "µs");
    add("loopback, one connection, 256 KiB", loopback, "MiB/s");
    add("memcpy, 64 MiB", memcpy(time), "MiB/s");
    Ok(figures)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Append,
    Fallocated,
    Written,
}

fn prepare(path: &Path, kind: Kind) -> Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    match kind {
        Kind::Append => {}
        Kind::Fallocated => rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES)?,
        Kind::Written => {
            let zeros = vec![0; 1 << 20];
            for at in (0..FILE_BYTES).step_by(zeros.len()) {
                file.write_all_at(&zeros, at)?;
            }
        }
    }
    file.sync_all()?;
    Ok(file)
}

/// Writes and syncs one after the other, per second.
fn syncs(path: &Path, kind: Kind, size: usize, time: Duration) -> Result<f64> {
    let file = prepare(path, kind)?;
    let data = vec![0x5a; size];
    let start = Instant::now();
    let mut count = 0u64;
    while start.elapsed() < time {
        let at = count * size as u64;
        file.write_all_at(&data, if kind == Kind::Append { at } else { at % (FILE_BYTES - size as u64) })?;
        file.sync_data()?;
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

fn bandwidth(path: &Path, time: Duration) -> Result<f64> {
    let file = prepare(path, Kind::Written)?;
    let data = vec![0x5a; 1 << 20];
    let start = Instant::now();
    let mut written = 0;
    while start.elapsed() < time {
        file.write_all_at(&data, (written << 20) % FILE_BYTES)?;
        written += 1;
        if written.is_multiple_of(64) {
            file.sync_data()?;
        }
    }
    file.sync_data()?;
    Ok(written as f64 / start.elapsed().as_secs_f64())
}

/// Round trips per second and MiB per second of one connection.
fn loopback(time: Duration) -> Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).is_ok() && buffer[0] == 0 {
            stream.write_all(&buffer)?;
        }
        let mut sink = vec![0; 256 << 10];
        while stream.read(&mut sink)? > 0 {}
        Ok(())
    });
    let mut buffer = [0; 64];
    let start = Instant::now();
    let mut trips = 0u64;
    while start.elapsed() < time {
        client.write_all(&buffer)?;
        client.read_exact(&mut buffer)?;
        trips += 1;
    }
    let trips = trips as f64 / start.elapsed().as_secs_f64();
    client.write_all(&[1; 64])?;
    let data = vec![0x5a; 256 << 10];
    let start = Instant::now();
    let mut blocks = 0u64;
    while start.elapsed() < time {
        client.write_all(&data)?;
        blocks += 1;
    }
    drop(client);
    let ended = echo.join();
    let bandwidth = blocks as f64 / 4.0 / start.elapsed().as_secs_f64();
    ended.map_err(|_| anyhow::anyhow!("the echo thread panicked"))??;
    Ok((trips, bandwidth))
}

fn memcpy(time: Duration) -> f64 {
    let from = vec![1u8; 64 << 20];
    let mut to = vec![0u8; 64 << 20];
    let start = Instant::now();
    let mut rounds = 0u64;
    while start.elapsed() < time {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        rounds += 1;
    }
    rounds as f64 * 64.0 / start.elapsed().as_secs_f64()
}
