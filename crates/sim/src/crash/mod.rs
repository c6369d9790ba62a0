//! Crash exploration of the store: scripted workloads on the hostile disk, cut off after every single disk operation in
//! every way that un-synced writes can be lost, and failed at every single call.
//!
//! [`script`] makes workloads, [`driver`] carries them out and keeps a journal of what was promised, [`model`] says from a
//! journal what must be there after recovery, [`explore`] does it for all states, [`bugs`] are broken variants that it must
//! find.
//!
//! [`flips`] looks at stores at rest instead, of which something rots ([`injury`]).

pub mod bugs;
pub mod driver;
pub mod explore;
pub mod flips;
pub mod injury;
pub mod model;
pub mod script;

/// What scripts tried and found, added up.
pub trait Findings: Default + Send {
    /// How often something was tried.
    fn total(&self) -> u64;
    fn merge(&mut self, other: Self);
    fn violations(&self) -> &[String];
}
