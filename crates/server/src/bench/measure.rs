//! Counting, timing and telling.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// What a run counted. Only what falls into the measured time goes into `messages`, `bytes` and `latency`.
pub(super) struct Measured {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Answers that were no success, by code, and lost connections.
    pub(super) errors: BTreeMap<String, u64>,
    /// Everything since the start, for the progress line and for `--count`.
    pub(super) total: u64,
    begins: Instant,
    ends: Instant,
    usage: [Option<f64>; 2],
    own_usage: [f64; 2],
    pids: Vec<u32>,
    /// When counting really ended.
    ended: Option<Instant>,
}

/// Latencies from 100 ns to 10 minutes, to three digits.
pub(super) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(100, 600_000_000_000, 3).context("histogram")
}

impl Measured {
    pub(super) fn new(warm_up: f64, duration: f64, pids: &[u32]) -> Result<Self> {
        let begins = Instant::now() + Duration::from_secs_f64(warm_up);
        Ok(Self {
            messages: 0,
            bytes: 0,
            latency: histogram()?,
            errors: BTreeMap::new(),
            total: 0,
            begins,
            ends: begins + Duration::from_secs_f64(duration),
            usage: [None; 2],
            own_usage: [0.0; 2],
            pids: pids.to_vec(),
            ended: None,
        })
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.ends || self.ended.is_some()
    }

    pub(super) fn counts(&self, now: Instant) -> bool {
        now >= self.begins && !self.is_over(now)
    }

    /// `count` messages of `bytes` together were done at `now`; the request was meant to start `latency` ago.
    pub(super) fn done(&mut self, now: Instant, count: u64, bytes: u64, latency: Duration) {
        self.count(now, count, bytes);
        if self.counts(now) {
            self.latency.saturating_record(latency.as_nanos() as u64);
        }
    }

    /// As [`Self::done`], where no latency is known.
    pub(super) fn count(&mut self, now: Instant, count: u64, bytes: u64) {
        self.total += count;
        if self.counts(now) {
            self.messages += count;
            self.bytes += bytes;
        }
    }

    pub(super) fn failed(&mut self, what: String) {
        *self.errors.entry(what).or_default() += 1;
    }

    /// Ends the measured time before its time.
    pub(super) fn end(&mut self, now: Instant) {
        self.ended.get_or_insert(now.min(self.ends));
    }

    /// Looks at the broker's CPU time at the beginning and the end; call it now and then.
    pub(super) fn watch_cpu(&mut self, now: Instant) {
        if now >= self.begins && self.usage[0].is_none() {
            self.usage[0] = Some(cpu_seconds_of_all(&self.pids));
            self.own_usage[0] = cpu_seconds("self").unwrap_or(0.0);
        }
        if self.is_over(now) && self.usage[1].is_none() {
            self.usage[1] = Some(cpu_seconds_of_all(&self.pids));
            self.own_usage[1] = cpu_seconds("self").unwrap_or(0.0);
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.ended.unwrap_or(self.ends).saturating_duration_since(self.begins).as_secs_f64().max(1e-9)
    }

    fn cpu(&self) -> Option<f64> {
        match self.usage {
            [Some(before), Some(after)] if !self.pids.is_empty() => Some(after - before),
            _ => None,
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds()
    }

    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e6
    }

    /// The broker's CPU-seconds per million messages, if it was watched.
    pub(super) fn cpu_per_million(&self) -> Option<f64> {
        self.cpu().map(|cpu| cpu * 1e6 / self.messages.max(1) as f64)
    }

    /// The longest latency in ms.
    pub(super) fn max_ms(&self) -> f64 {
        self.latency.max() as f64 / 1e6
    }

    /// Prints the result, with figures of its own kind; an error if nothing succeeded.
    pub(super) fn report(&self, what: &str, json: bool, more: &[(&str, f64)]) -> Result<()> {
        let rate = self.rate();
        let per_million = |cpu: f64| cpu * 1e6 / (self.messages.max(1) as f64);
        let ms = |ns: u64| ns as f64 / 1e6;
        let quantiles = [0.5, 0.9, 0.99, 0.999].map(|q| ms(self.latency.value_at_quantile(q)));
        let [p50, p90, p99, p999] = quantiles;
        let max = ms(self.latency.max());
        let own = per_million(self.own_usage[1] - self.own_usage[0]);
        let mut out = std::io::stdout().lock();
        if json {
            let mut result = serde_json::json!({
                "what": what, "seconds": self.seconds(), "messages": self.messages, "messages_per_s": rate,
                "bytes_per_s": self.bytes as f64 / self.seconds(),
                "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "p99_9": p999, "max": max},
                "errors": self.errors, "broker_cpu_s_per_million": self.cpu().map(per_million),
                "own_cpu_s_per_million": own,
            });
            if let Some(result) = result.as_object_mut() {
                result.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
            }
            writeln!(out, "{result}")?;
        } else {
            writeln!(out, "{what}: {} messages in {:.1} s", self.messages, self.seconds())?;
            writeln!(
                out,
                "  rate     {rate:>12.0} messages/s   {:.1} MiB/s",
                self.bytes as f64 / self.seconds() / 1_048_576.0
            )?;
            if !self.latency.is_empty() {
                writeln!(
                    out,
                    "  latency  p50 {p50:.3}  p90 {p90:.3}  p99 {p99:.3}  p99.9 {p999:.3}  max {max:.3} ms"
                )?;
            }
            if let Some(cpu) = self.cpu() {
                writeln!(
                    out,
                    "  broker   {:.2} CPU-seconds per million messages ({cpu:.2} s)",
                    per_million(cpu)
                )?;
            }
            writeln!(out, "  own      {own:.2} CPU-seconds per million messages")?;
            for (name, value) in more {
                writeln!(out, "  {name} {value}")?;
            }
            for (error, count) in &self.errors {
                writeln!(out, "  error    {count} × {error}")?;
            }
        }
        anyhow::ensure!(self.messages > 0, "no message got through");
        Ok(())
    }
}

/// Resident memory of processes, in MiB.
pub(super) fn memory_mib(pids: &[u32]) -> f64 {
    let kib = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()
    };
    pids.iter().filter_map(kib).sum::<f64>() / 1024.0
}

fn cpu_seconds_of_all(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| cpu_seconds(&pid.to_string())).sum()
}

/// User and system time that a process has used: fields 14 and 15 of `/proc/PID/stat`.
fn cpu_seconds(pid: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(") ")?.1;
    let mut fields = after_name.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Says once a second what was done in it, on standard error.
pub(super) struct ProgressLine {
    last: (Instant, u64),
    terminal: bool,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { last: (Instant::now(), 0), terminal: std::io::stderr().is_terminal() }
    }

    pub(super) fn show(&mut self, measured: &Measured) {
        let now = Instant::now();
        let seconds = now.duration_since(self.last.0).as_secs_f64();
        let rate = (measured.total - self.last.1) as f64 / seconds.max(1e-9);
        self.last = (now, measured.total);
        let phase = if now < measured.begins { "warm-up" } else { "measuring" };
        let errors: u64 = measured.errors.values().sum();
        let text = format!("{phase}: {rate:.0} messages/s, {} in all, {errors} errors", measured.total);
        let mut err = std::io::stderr().lock();
        // A closed standard error is no reason to end.
        let _ = if self.terminal { write!(err, "\r{text}\x1b[K") } else { writeln!(err, "{text}") };
        let _ = err.flush();
    }

    pub(super) fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
