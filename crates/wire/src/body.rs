//! JSON bodies: what the longer requests and responses carry.
//!
//! Apache writes them with fastjson, which is JSON but for one thing: keys of maps that are not strings in Java are
//! not quoted (`{0:"127.0.0.1:10911"}`), and may even be objects (`{{"topic":"T"}:1}`). [`from_json`] reads that too
//! (such a key becomes a string of its text); [`to_json`] writes plain JSON, [`to_fastjson`] leaves the
//! quotes off integer keys, byte for byte as fastjson does. Members are declared in the order in which fastjson writes
//! them, which is alphabetical; absent ones are left out.
//!
//! Reading is as lenient as Apache's: unknown members are skipped, absent ones and nulls take the default of Java's class,
//! and what clients send may have its numbers and booleans in quotes.

mod admin;
mod client;
mod config;
mod fastjson;
mod lite;
mod pop;
mod queue_offsets;
mod registration;
mod route;
mod running_info;
mod stats;

pub use admin::*;
pub use client::*;
pub use config::*;
pub use lite::*;
pub use pop::*;
pub use queue_offsets::*;
pub use registration::*;
pub use route::*;
pub use running_info::*;
pub use stats::*;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::str::FromStr;

/// Why a body could not be read. The text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not valid JSON for this request: {0}")]
    Json(String),
    #[error("the compressed body cannot be read: {0}")]
    Compressed(String),
    #[error("the body's checksum is {found:#x}, the header says {said:#x}")]
    Crc { said: u32, found: u32 },
}

/// Reads a body, standard JSON or fastjson's.
///
/// # Errors
/// It is neither, is nested more than 128 levels deep, or a member has another type.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        Err(strict) => {
            let error = |why: serde_json::Error| BodyError::Json(why.to_string());
            let quoted = fastjson::quote_keys(body).ok_or_else(|| error(strict))?;
            serde_json::from_slice(&quoted).map_err(error)
        }
    }
}

/// Writes a body as standard JSON.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // holds because bodies have string and integer keys only and write to memory
    serde_json::to_vec(value).unwrap_or_default()
}

/// Writes a body as fastjson does: integer keys without quotes.
pub fn to_fastjson<T: Serialize>(value: &T) -> Vec<u8> {
    fastjson::write(value)
}

/// A null is as good as absent.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A number or boolean, or its text: the C++ client quotes `subVersion`, the Go client the hash codes of tags. Null and the
/// empty text are as good as absent.
fn unquoted<'de, D: Deserializer<'de>, T: Deserialize<'de> + FromStr + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Quoted::deserialize(deserializer).and_then(Quoted::value)
}

/// The same for a list.
fn all_unquoted<'de, D: Deserializer<'de>, T: Deserialize<'de> + FromStr + Default>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = Option::<Vec<Quoted<T>>>::deserialize(deserializer)?;
    list.unwrap_or_default().into_iter().map(Quoted::value).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Quoted<T> {
    Plain(Option<T>),
    Text(String),
}

impl<T: FromStr + Default> Quoted<T> {
    fn value<E: serde::de::Error>(self) -> Result<T, E> {
        match self {
            Self::Plain(value) => Ok(value.unwrap_or_default()),
            Self::Text(text) if text.is_empty() => Ok(T::default()),
            Self::Text(text) => text.parse().map_err(|_| E::custom(format_args!("{text:?} is not a number"))),
        }
    }
}

#[cfg(test)]
mod tests;
