//! The files of Apache RocketMQ's settings: whether they can be read, and what groups have consumed.

use anyhow::Result;
use kerolox_store::disk::RealDisk;
use kerolox_store::{Fault, Part, config_files};
use kerolox_wire::body;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Files that are no JSON. One whose older copy is sound says so.
pub(super) fn faults(data: &Path) -> Result<Vec<Fault>> {
    let mut sound = Vec::new();
    let mut faults = Vec::new();
    for file in config_files(&RealDisk::read_only(data))? {
        let why = match &file.content {
            Err(e) => format!("cannot be read: {e}"),
            // Apache writes some of them with nothing inside before there is anything to say.
            Ok(content) if content.is_empty() && file.path.ends_with(".bak") => continue,
            Ok(content) => match body::from_json::<Value>(content) {
                Ok(_) => {
                    sound.push(file.path);
                    continue;
                }
                Err(e) => format!("is no JSON: {e}"),
            },
        };
        faults.push(Fault::of(Part::Config, &file.path, why));
    }
    for fault in &mut faults {
        let copy = format!("{}.bak", fault.path);
        if sound.contains(&copy) {
            fault.why = format!("{}; its older copy {copy} is sound", fault.why);
        }
    }
    Ok(faults)
}

/// Group, topic, queue and committed offset of each, as `consumerOffset.json` has them; none if it cannot be read.
pub(super) fn committed(data: &Path) -> Result<Vec<(String, String, u32, u64)>> {
    let mut all = BTreeMap::new();
    // Pulling consumers that are no members of their group have a table of their own.
    for name in ["pullOffsetTable", "offsetTable"] {
        for (key, queues) in table(data, "config/consumerOffset.json", name)? {
            let Some((topic, group)) = key.split_once('@') else { continue };
            for (queue, offset) in queues.as_object().into_iter().flatten() {
                let Some((queue, offset)) = queue.parse().ok().zip(offset.as_u64()) else { continue };
                all.insert((group.to_owned(), topic.to_owned(), queue), offset);
            }
        }
    }
    Ok(all.into_iter().map(|((group, topic, queue), offset)| (group, topic, queue, offset)).collect())
}

/// Next offset to deliver of each queue of delayed messages, as `delayOffset.json` has them.
pub(super) fn delayed_from(data: &Path) -> Result<Vec<(u32, u64)>> {
    let table = table(data, "config/delayOffset.json", "offsetTable")?;
    let levels = table.iter().filter_map(|(level, offset)| {
        // Levels begin with 1, queues with 0.
        Some((level.parse::<u32>().ok()?.checked_sub(1)?, offset.as_u64()?))
    });
    Ok(levels.collect())
}

/// A table of a file, or of its older copy.
fn table(data: &Path, path: &str, name: &str) -> Result<serde_json::Map<String, Value>> {
    let wanted = |path: &str| {
        let file = config_files(&RealDisk::read_only(data)).ok()?.find(|file| file.path == path)?;
        let mut value: Value = body::from_json(&file.content.ok()?).ok()?;
        match value.get_mut(name).map(Value::take) {
            Some(Value::Object(table)) => Some(table),
            _ => None,
        }
    };
    Ok(wanted(path).or_else(|| wanted(&format!("{path}.bak"))).unwrap_or_default())
}
