//! `kerolox store repair`: mends what can be mended without inventing anything. Without `--yes` it says what it would do.

use super::verify::verify;
use super::{Sound, look, show};
use crate::cli;
use anyhow::{Context, Result, bail};
use kerolox_store::disk::{Disk, RealDisk};
use kerolox_store::{Look, Mend, Plan};
use serde_json::json;
use std::path::Path;

/// The file that a process holds while it has a directory open.
const LOCK: &str = "lock";

pub(super) fn run(args: &cli::Repair) -> Result<Sound> {
    let data = args.directory.path();
    if let Some(pid) = RealDisk::new(data).holder(LOCK).unwrap_or_default() {
        bail!("{} is in use by process {pid}: stop it first", data.display());
    }
    if !args.yes {
        let look = look(data)?;
        let plan = plan(&look, args)?;
        tell(&plan, args, None);
        return Ok(plan.mends.is_empty() && plan.left.is_empty());
    }
    // First looked at by one that cannot write: what is no data directory gets no lock file.
    look(data)?;
    let disk = RealDisk::new(data);
    let _lock = disk.lock(LOCK).with_context(|| format!("cannot repair {}", data.display()))?;
    let look = Look::open(disk).context("cannot look into the data directory")?;
    let plan = plan(&look, args)?;
    let lost = (!plan.mends.is_empty()).then(|| lost_folder(data));
    if let Some(lost) = &lost {
        look.mend(&plan.mends, lost).context("cannot repair the data directory")?;
    }
    tell(&plan, args, lost.as_deref());
    Ok(plan.left.is_empty())
}

fn plan(look: &Look<RealDisk>, args: &cli::Repair) -> Result<Plan> {
    let found = verify(look, &args.directory)?;
    Ok(look.plan(&found, args.cut_tail)?)
}

/// A new folder for what is removed.
fn lost_folder(data: &Path) -> String {
    let now = crate::report::now();
    // Not the colons: some file systems have none.
    let name = format!("lost+found/{}", now.replace(':', "-"));
    let taken = |name: &str| data.join(name).exists();
    if !taken(&name) {
        return name;
    }
    (2..).map(|n| format!("{name}.{n}")).find(|name| !taken(name)).unwrap_or(name)
}

fn describe(mend: &Mend) -> String {
    match mend {
        Mend::SetAside { path, why } => {
            format!("set aside {} (the next start rebuilds it from the log): {why}", show::clean(path))
        }
        Mend::Frontier { facts, from_log, why } => {
            let from = if *from_log { "what the log says" } else { "what its sound copies say" };
            format!("write kerolox/frontier anew with {from}, synced up to {}: {why}", facts.flushed())
        }
        Mend::CutTail(tail) => format!(
            "cut off {} bytes behind the log's end at position {} ({} whole records among them, which nobody was told were safe)",
            tail.bytes, tail.position, tail.records
        ),
    }
}

fn tell(plan: &Plan, args: &cli::Repair, lost: Option<&str>) {
    let data = args.directory.path().display();
    let mends: Vec<String> = plan.mends.iter().map(describe).collect();
    if args.directory.output.is_json() {
        let tail = plan.tail.map(|t| json!({"position": t.position, "bytes": t.bytes, "records": t.records}));
        let said = json!({
            "directory": data.to_string(),
            "done": args.yes,
            "mends": mends,
            "left": plan.left,
            "tail": tail,
            "kept": lost,
        });
        show::line(&said.to_string());
        return;
    }
    let verb = if args.yes { "done" } else { "would" };
    mends.iter().for_each(|mend| show::line(&format!("{verb}: {mend}")));
    plan.left.iter().for_each(|left| show::line(&format!("left: {left}")));
    if let Some(tail) = plan.tail {
        show::line(&format!(
            "left: {} bytes behind the log's end at position {} ({} whole records among them): the next start erases them; --cut-tail does it now",
            tail.bytes, tail.position, tail.records
        ));
    }
    match (mends.len(), lost) {
        (0, _) => show::line("nothing to mend"),
        (count, Some(lost)) => show::line(&format!("{count} mended; what was removed is in {data}/{lost}")),
        (count, None) => show::line(&format!("{count} to mend; nothing was changed: --yes carries it out")),
    }
}
