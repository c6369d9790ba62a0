//! What is allowed: the broker as one pure state machine.

mod effect;
mod input;

pub use effect::Effect;
pub use input::{ConnId, Input, ReadId};
