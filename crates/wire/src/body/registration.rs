//! `REGISTER_BROKER` 103: what a broker tells a name server about itself.

use super::{BodyError, DataVersion, TopicConfig, TopicQueueMappingInfo, from_json, nullable};
use bytes::Buf;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest that a compressed registration may become: about 100,000 topics.
pub const REGISTRATION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a zlib stream (deflate, 32 KiB window) begins; no JSON does.
const ZLIB: u8 = 0x78;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RegisterBrokerBody {
    #[serde(deserialize_with = "nullable")]
    pub filter_server_list: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfigAndMappingSerializeWrapper {
    #[serde(deserialize_with = "nullable")]
    pub data_version: DataVersion,
    #[serde(deserialize_with = "nullable")]
    pub mapping_data_version: DataVersion,
    #[serde(deserialize_with = "nullable")]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    #[serde(deserialize_with = "nullable")]
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
}

impl RegisterBrokerBody {
    /// Reads a registration: JSON, or `compressed`: a zlib stream of `length i32 · bytes` pieces (data version as JSON,
    /// the number of topics instead of a length and then each as [`TopicConfig::from_line`] wants it, filter servers as a JSON list,
    /// and from 5.0 on the number of queue mappings and each as JSON).
    ///
    /// A zlib stream is known by its first byte too: Apache 5.5.0 with `compressedRegister=true` deflates the body and says in
    /// the header that it did not.
    ///
    /// # Errors
    /// It cannot be read, or inflates to more than [`REGISTRATION_BYTES_MAX`].
    pub fn read(body: &[u8], compressed: bool) -> Result<Self, BodyError> {
        if !compressed && body.first() != Some(&ZLIB) {
            return from_json(body);
        }
        let bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(body, REGISTRATION_BYTES_MAX)
            .map_err(|why| BodyError::Compressed(why.to_string()))?;
        let mut rest = bytes.as_slice();
        let mut read = Self::default();
        let wrapper = &mut read.topic_config_serialize_wrapper;
        wrapper.data_version = from_json(piece(&mut rest)?)?;
        for _ in 0..count(&mut rest)? {
            let line = std::str::from_utf8(piece(&mut rest)?)
                .map_err(|why| BodyError::Compressed(why.to_string()))?;
            let config = TopicConfig::from_line(line).ok_or_else(|| {
                BodyError::Compressed(format!("topic line {:?}", line.chars().take(128).collect::<String>()))
            })?;
            wrapper.topic_config_table.insert(config.topic_name.clone(), config);
        }
        read.filter_server_list = from_json(piece(&mut rest)?)?;
        // A 4.x broker ends here.
        if rest.has_remaining() {
            for _ in 0..count(&mut rest)? {
                let mapping: TopicQueueMappingInfo = from_json(piece(&mut rest)?)?;
                wrapper.topic_queue_mapping_info_map.insert(mapping.topic.clone(), mapping);
            }
        }
        Ok(read)
    }
}

fn count(rest: &mut &[u8]) -> Result<usize, BodyError> {
    let count = rest.try_get_i32().map_err(|why| BodyError::Compressed(why.to_string()))?;
    usize::try_from(count).map_err(|_| BodyError::Compressed(format!("length {count}")))
}

fn piece<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BodyError> {
    let len = count(rest)?;
    let (piece, left) =
        rest.split_at_checked(len).ok_or_else(|| BodyError::Compressed(format!("length {len}")))?;
    *rest = left;
    Ok(piece)
}
