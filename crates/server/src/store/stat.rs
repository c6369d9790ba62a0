//! `kerolox store stat`: what there is in a data directory, and what waits in it. A broker may run on it meanwhile.

use super::progress::Shown;
use super::{Sound, config, look, show};
use crate::admin::show_time;
use crate::cli;
use anyhow::{Context, Result};
use kerolox_broker::{State, Waiting};
use kerolox_store::{Origin, Stat};
use kerolox_wire::names;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Characters of a topic's bar.
const BAR: usize = 20;

/// What is not done yet.
#[derive(Debug, Default)]
struct Undone {
    /// `None`: Apache RocketMQ's, of which these files alone do not say.
    waiting: Option<Waiting>,
    timers: Option<usize>,
    delayed: u64,
    state_entries: u64,
    state_bytes: u64,
}

/// How far a group is behind in a topic.
#[derive(Debug, Clone, Copy, Default)]
struct Behind {
    messages: u64,
    queues: u32,
}

type Groups = BTreeMap<(String, String), Behind>;

pub(super) fn run(args: &cli::Directory) -> Result<Sound> {
    let data = args.path();
    let look = look(data)?;
    let mut state = State::default();
    let mut shown = Shown::new(args.quiet);
    let stat = look
        .stat(&mut state, &mut |progress| shown.tell(progress))
        .with_context(|| format!("cannot read the data directory {}", data.display()))?;
    drop(shown);
    let theirs = stat.origin == Origin::Apache;
    let groups = match theirs {
        true => behind(&stat, config::committed(data)?.into_iter()),
        false => behind(&stat, state.committed().map(|(g, t, q, at)| (g.to_string(), t.to_string(), q, at))),
    };
    let undone = if theirs { undone_of_apache(&stat, args)? } else { undone(&stat, &state) };
    if args.output.is_json() {
        show::line(&json(&stat, &groups, &undone, args).to_string());
    } else {
        table(&stat, &groups, &undone, args);
    }
    Ok(stat.damaged == 0)
}

fn behind(stat: &Stat, committed: impl Iterator<Item = (String, String, u32, u64)>) -> Groups {
    let mut groups = Groups::new();
    for (group, topic, queue, offset) in committed {
        let max = stat.topics.get(&topic).and_then(|t| t.queues.get(&queue)).map_or(0, |queue| queue.max);
        let behind = groups.entry((group, topic)).or_default();
        behind.messages += max.saturating_sub(offset);
        behind.queues += 1;
    }
    groups
}

/// Messages in the queues of the schedule topic that are not delivered yet.
fn delayed(stat: &Stat, from: impl Fn(u32) -> Option<u64>) -> u64 {
    let queues = stat.topics.get(names::SCHEDULE_TOPIC).map(|topic| &topic.queues);
    let waiting = |(id, queue): (&u32, &kerolox_store::QueueStat)| {
        queue.max.saturating_sub(from(*id).unwrap_or(0).max(queue.min))
    };
    queues.into_iter().flatten().map(waiting).sum()
}

fn undone(stat: &Stat, state: &State) -> Undone {
    let (mut entries, mut bytes) = (0, 0);
    state.each_entry(|_, payload| {
        entries += 1;
        bytes += (kerolox_store::state::HEAD_BYTES + payload.len()) as u64;
    });
    Undone {
        waiting: Some(state.waiting()),
        timers: Some(
            stat.timers.iter().filter(|(due, offset)| state.is_timer_waiting(*due, *offset)).count(),
        ),
        delayed: delayed(stat, |queue| state.delayed_from().get(queue as usize).copied()),
        state_entries: entries,
        state_bytes: bytes,
    }
}

fn undone_of_apache(stat: &Stat, args: &cli::Directory) -> Result<Undone> {
    let from: BTreeMap<u32, u64> = config::delayed_from(args.path())?.into_iter().collect();
    Ok(Undone { delayed: delayed(stat, |queue| from.get(&queue).copied()), ..Undone::default() })
}

fn time(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), show_time)
}

fn table(stat: &Stat, groups: &Groups, undone: &Undone, args: &cli::Directory) {
    let line = |title: &str, text: String| show::line(&format!("{title:<10} {text}"));
    line("directory", format!("{} (written by {})", args.path().display(), show::origin(stat.origin)));
    let flushed = stat.flushed.map_or_else(String::new, |flushed| format!(", synced up to {flushed}"));
    let size = show::bytes(stat.end.saturating_sub(stat.begin));
    let Stat { begin, end, segments, .. } = stat;
    line("log", format!("{segments} segments, positions {begin} to {end} ({size}){flushed}"));
    let span =
        stat.times.map(|(first, last)| format!(", stored {} to {}", show_time(first), show_time(last)));
    let messages = format!("{} ({})", stat.messages, show::bytes(stat.bytes));
    line("messages", format!("{messages} in {} topics{}", stat.topics.len(), span.unwrap_or_default()));
    if let Some(waiting) = undone.waiting {
        let snapshot = match stat.snapshot {
            Some((position, bytes)) => format!("snapshot of position {position} ({})", show::bytes(bytes)),
            None => "no snapshot".to_owned(),
        };
        let size = show::bytes(undone.state_bytes);
        line("state", format!("{} entries ({size}), {snapshot}", undone.state_entries));
        let oldest = waiting.oldest_half_ms.map(|ms| format!(" (the oldest since {})", show_time(ms)));
        line(
            "waiting",
            format!(
                "{} half messages{}, {} popped in flight, {} timer messages, {} delayed messages",
                waiting.half_messages,
                oldest.unwrap_or_default(),
                waiting.in_flight,
                undone.timers.unwrap_or_default(),
                undone.delayed
            ),
        );
    } else {
        line("waiting", format!("{} delayed messages", undone.delayed));
    }
    let files = stat.files.iter().filter(|(_, bytes)| **bytes > 0);
    let files: Vec<String> = files
        .map(|(dir, bytes)| format!("{} {}", if dir.is_empty() { "other" } else { dir }, show::bytes(*bytes)))
        .collect();
    let free = stat
        .space
        .map(|s| format!("; {:.0} % used, {} free", s.used_ratio() * 100.0, show::bytes(s.available)));
    line("disk", format!("{}{}", files.join(", "), free.unwrap_or_default()));
    if stat.damaged > 0 {
        line("damaged", format!("{} places of the log: see kerolox store verify", stat.damaged));
    }
    topics(stat);
    group_table(groups);
}

fn topics(stat: &Stat) {
    let mut topics: Vec<_> = stat.topics.iter().collect();
    topics.sort_by_key(|(name, topic)| (std::cmp::Reverse(topic.bytes), (*name).clone()));
    let most = topics.first().map_or(1, |(_, topic)| topic.bytes.max(1));
    let width = topics.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).clamp(5, 60);
    show::line(&format!(
        "\n{:width$} {:>12} {:>10} {:>6} {:>23} {:19} SHARE",
        "TOPIC", "MESSAGES", "BYTES", "QUEUES", "OFFSETS", "NEWEST"
    ));
    for (name, topic) in topics {
        let bar = "█".repeat(((topic.bytes as f64 / most as f64) * BAR as f64).ceil() as usize);
        let (min, max) =
            (topic.queues.values().map(|q| q.min).min(), topic.queues.values().map(|q| q.max).max());
        let offsets = format!("{}..{}", min.unwrap_or(0), max.unwrap_or(0));
        let (name, size, newest) = (show::clean(name), show::bytes(topic.bytes), time(topic.newest_ms));
        let (messages, queues) = (topic.messages, topic.queues.len());
        show::line(&format!(
            "{name:width$} {messages:>12} {size:>10} {queues:>6} {offsets:>23} {newest:19} {bar}"
        ));
    }
}

fn group_table(groups: &Groups) {
    if groups.is_empty() {
        return;
    }
    let width = groups.keys().map(|(group, _)| group.chars().count()).max().unwrap_or(0).clamp(5, 60);
    show::line(&format!("\n{:width$} {:>12} {:>6} TOPIC", "GROUP", "BEHIND", "QUEUES"));
    for ((group, topic), behind) in groups {
        let (group, topic) = (show::clean(group), show::clean(topic));
        show::line(&format!("{group:width$} {:>12} {:>6} {topic}", behind.messages, behind.queues));
    }
}

fn json(stat: &Stat, groups: &Groups, undone: &Undone, args: &cli::Directory) -> Value {
    let topics = stat.topics.iter().map(|(name, topic)| {
        let queues = topic
            .queues
            .iter()
            .map(|(id, q)| json!({"id": id, "min": q.min, "max": q.max, "messages": q.messages}));
        json!({
            "topic": name,
            "messages": topic.messages,
            "bytes": topic.bytes,
            "newestMs": topic.newest_ms,
            "queues": queues.collect::<Vec<_>>(),
        })
    });
    let groups = groups.iter().map(|((group, topic), behind)| {
        json!({"group": group, "topic": topic, "behind": behind.messages, "queues": behind.queues})
    });
    json!({
        "directory": args.path().display().to_string(),
        "origin": show::origin(stat.origin),
        "segments": stat.segments,
        "begin": stat.begin,
        "end": stat.end,
        "flushed": stat.flushed,
        "messages": stat.messages,
        "bytes": stat.bytes,
        "firstMs": stat.times.map(|times| times.0),
        "lastMs": stat.times.map(|times| times.1),
        "indexRuns": stat.runs,
        "snapshot": stat.snapshot.map(|(position, bytes)| json!({"position": position, "bytes": bytes})),
        "stateEntries": undone.waiting.map(|_| undone.state_entries),
        "stateBytes": undone.waiting.map(|_| undone.state_bytes),
        "halfMessages": undone.waiting.map(|waiting| waiting.half_messages),
        "oldestHalfMs": undone.waiting.and_then(|waiting| waiting.oldest_half_ms),
        "inFlight": undone.waiting.map(|waiting| waiting.in_flight),
        "timerMessages": undone.timers,
        "delayedMessages": undone.delayed,
        "files": stat.files,
        "diskUsed": stat.space.map(kerolox_store::disk::Space::used_ratio),
        "diskFree": stat.space.map(|space| space.available),
        "damaged": stat.damaged,
        "topics": topics.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
    })
}
