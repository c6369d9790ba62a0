//! What all kinds of operations have in common.

use super::judge::{Acked, Judge};
use crate::ledger::body::Random;
use crate::ledger::client::Client;
use anyhow::Result;

/// Does one kind of operation, remembers what was acknowledged, and looks later whether it is there.
pub(super) trait Worker: Send {
    /// What it needs, once, of an empty server.
    fn prepare(&mut self, client: &mut Client) -> Result<()>;
    /// A few operations; an error when the connection breaks.
    fn step(&mut self, client: &mut Client, random: &mut Random, acked: &mut Acked) -> Result<()>;
    /// After each start.
    fn check(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()>;
    /// After the last start: waits for what must come in the end, and checks it.
    fn settle(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        self.check(client, judge)
    }
}
