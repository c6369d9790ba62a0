//! Messages as servers give them, and how they are shown.

use super::out::format;
use super::session::Session;
use super::time;
use anyhow::{Context, Result};
use encoding_rs::Encoding;
use kerolox_wire::header::{
    GetMaxOffset, OffsetResponse, PullMessage, PullMessageResponse, SearchOffset, TopicQueue,
};
use kerolox_wire::properties::name;
use kerolox_wire::record::{RecordView, split};
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Where bodies of messages are written to, as Apache's tools do.
const BODIES: &str = "/tmp/rocketmq/msgbodys";
/// Longest body that is unpacked.
const BODY_BYTES_MAX: usize = 256 << 20;
/// The consumer group under which tools read.
const GROUP: &str = "TOOLS_CONSUMER";

/// One message, its body unpacked.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) broker: String,
    pub(super) queue_id: u32,
    pub(super) queue_offset: u64,
    pub(super) position: u64,
    pub(super) store_ms: i64,
    pub(super) store_host: SocketAddr,
    /// The offset message id.
    pub(super) offset_id: String,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    store_size: usize,
    flag: i32,
    sys_flag: i32,
    born_ms: i64,
    born_host: SocketAddr,
    body_crc: u32,
    reconsume_times: i32,
    prepared_transaction_offset: i64,
}

impl Message {
    /// Owns a record; one whose body cannot be unpacked keeps it packed.
    pub(super) fn from_record(record: &RecordView<'_>, broker: &str) -> Self {
        let properties =
            record.properties().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self {
            topic: record.topic.to_owned(),
            broker: broker.to_owned(),
            queue_id: record.queue_id,
            queue_offset: record.queue_offset,
            position: record.position,
            store_ms: record.store_ms,
            store_host: record.store_host,
            offset_id: record.message_id().to_string(),
            properties,
            body: unpacked(record.body, record.sys_flag),
            store_size: record.len(),
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_ms: record.born_ms,
            born_host: record.born_host,
            body_crc: record.body_crc,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
        }
    }

    /// The id that the producer's client gave it, or else the offset message id.
    pub(super) fn id(&self) -> &str {
        self.properties.get(name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX).unwrap_or(&self.offset_id)
    }

    pub(super) fn born_host(&self) -> SocketAddr {
        self.born_host
    }

    pub(super) fn tags(&self) -> Option<&str> {
        self.properties.get(name::TAGS).map(String::as_str)
    }

    /// In one line, as Apache's class writes itself.
    pub(super) fn describe(&self) -> String {
        let body: Vec<_> = self.body.iter().map(|byte| byte.cast_signed().to_string()).collect();
        format!(
            "MessageExt [brokerName={}, queueId={}, storeSize={}, queueOffset={}, sysFlag={}, bornTimestamp={}, \
             bornHost=/{}, storeTimestamp={}, storeHost=/{}, msgId={}, commitLogOffset={}, bodyCRC={}, \
             reconsumeTimes={}, preparedTransactionOffset={}, toString()=Message{{topic='{}', flag={}, \
             properties={}, body=[{}], transactionId='null'}}]",
            self.broker,
            self.queue_id,
            self.store_size,
            self.queue_offset,
            self.sys_flag,
            self.born_ms,
            self.born_host,
            self.store_ms,
            self.store_host,
            self.offset_id,
            self.position,
            self.body_crc,
            self.reconsume_times,
            self.prepared_transaction_offset,
            self.topic,
            self.flag,
            super::topic::braced(&self.properties),
            body.join(", "),
        )
    }

    /// Its fields, one in a line; those that only some commands show are asked for.
    pub(super) fn details(&self, with_offset_id: bool) -> String {
        let key = |key: &str| self.properties.get(key).map_or("null", String::as_str);
        let mut lines = Vec::new();
        if with_offset_id {
            lines.push(("OffsetID:", self.offset_id.clone()));
        }
        lines.extend([
            ("Topic:", self.topic.clone()),
            ("Tags:", format!("[{}]", key(name::TAGS))),
            ("Keys:", format!("[{}]", key(name::KEYS))),
            ("Queue ID:", self.queue_id.to_string()),
            ("Queue Offset:", self.queue_offset.to_string()),
            ("CommitLog Offset:", self.position.to_string()),
            ("Reconsume Times:", self.reconsume_times.to_string()),
            ("Born Timestamp:", time::to_millisecond(self.born_ms)),
            ("Store Timestamp:", time::to_millisecond(self.store_ms)),
            ("Born Host:", self.born_host.to_string()),
            ("Store Host:", self.store_host.to_string()),
            ("System Flag:", self.sys_flag.to_string()),
            ("Properties:", super::topic::braced(&self.properties)),
        ]);
        let lines: Vec<_> =
            lines.iter().map(|(name, value)| format("%-20s %s\n", &[*name, value.as_str()])).collect();
        lines.concat()
    }

    /// The body as text of an encoding; what is none of it becomes U+FFFD.
    pub(super) fn text(&self, charset: &'static Encoding) -> Cow<'_, str> {
        charset.decode_without_bom_handling(&self.body).0
    }

    /// With the body as text of an encoding; null where it is none.
    pub(super) fn json(&self, charset: &'static Encoding) -> Value {
        json!({
            "messageId": self.id(),
            "offsetMessageId": self.offset_id,
            "topic": self.topic,
            "brokerName": self.broker,
            "queueId": self.queue_id,
            "queueOffset": self.queue_offset,
            "commitLogOffset": self.position,
            "storeSize": self.store_size,
            "bodyCrc": self.body_crc,
            "reconsumeTimes": self.reconsume_times,
            "preparedTransactionOffset": self.prepared_transaction_offset,
            "bornTimestamp": self.born_ms,
            "storeTimestamp": self.store_ms,
            "bornHost": self.born_host.to_string(),
            "storeHost": self.store_host.to_string(),
            "flag": self.flag,
            "sysFlag": self.sys_flag,
            "properties": self.properties,
            "body": charset.decode_without_bom_handling_and_without_replacement(&self.body),
            "bodyBytes": self.body.len(),
        })
    }

    /// Writes the body to a file of its own and says where.
    ///
    /// # Errors
    /// The file cannot be written, or is a link that somebody put there.
    pub(super) fn write_body(&self, index: usize) -> Result<PathBuf> {
        // An id that a producer made up must not lead elsewhere.
        let clean =
            |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        let id = if clean(self.id()) { self.id() } else { &self.offset_id };
        let name = if index == 0 { id.to_owned() } else { format!("{id}_{index}") };
        let path = PathBuf::from(BODIES).join(name);
        let write = || {
            std::fs::create_dir_all(BODIES)?;
            let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).custom_flags(no_link);
            options.open(&path)?.write_all(&self.body)
        };
        write().with_context(|| format!("cannot write the body to {}", path.display()))?;
        Ok(path)
    }
}

/// A body as its producer meant it: what clients compressed with zlib is unpacked.
pub(crate) fn unpacked(body: &[u8], sys_flag: i32) -> Vec<u8> {
    let zlib = sys_flag & sys_flag::COMPRESSED != 0
        && !matches!(
            sys_flag & sys_flag::COMPRESSION_MASK,
            sys_flag::COMPRESSION_LZ4 | sys_flag::COMPRESSION_ZSTD
        );
    let inflated =
        zlib.then(|| miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(body, BODY_BYTES_MAX).ok());
    inflated.flatten().unwrap_or_else(|| body.to_vec())
}

/// The messages in the body of an answer.
pub(super) fn messages(answer: &Command, broker: &str) -> Result<Vec<Message>> {
    split(&answer.body)
        .map(|record| Ok(Message::from_record(&record.context("the answer is no message")?, broker)))
        .collect()
}

/// What a pull brought.
#[derive(Debug)]
pub(super) struct Pulled {
    /// As Apache's clients call it.
    pub(super) status: &'static str,
    pub(super) messages: Vec<Message>,
    pub(super) next: i64,
}

/// One queue, to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queue<'a> {
    pub(super) topic: &'a str,
    pub(super) broker: &'a str,
    pub(super) address: &'a str,
    pub(super) id: i32,
}

impl Queue<'_> {
    /// As Apache's class writes itself.
    pub(super) fn describe(&self) -> String {
        format!("MessageQueue [topic={}, brokerName={}, queueId={}]", self.topic, self.broker, self.id)
    }

    /// Where it begins.
    pub(super) fn start(&self, session: &mut Session) -> Result<i64> {
        let (topic, queue_id, broker_name) = (self.topic, self.id, Some(self.broker));
        let header = TopicQueue { topic, queue_id, broker_name, ..TopicQueue::default() };
        self.offset(session, Command::request(RequestCode::GET_MIN_OFFSET).with_header(&header))
    }

    /// Behind its last message.
    pub(super) fn end(&self, session: &mut Session) -> Result<i64> {
        let (topic, queue_id, broker_name) = (self.topic, self.id, Some(self.broker));
        let header =
            GetMaxOffset { topic, queue_id, broker_name, committed: Some(true), ..GetMaxOffset::default() };
        self.offset(session, Command::request(RequestCode::GET_MAX_OFFSET).with_header(&header))
    }

    /// The first message stored at a time, in milliseconds, or later.
    pub(super) fn at_time(&self, session: &mut Session, timestamp: i64) -> Result<i64> {
        let (topic, queue_id, broker_name) = (self.topic, self.id, Some(self.broker));
        let header = SearchOffset { topic, queue_id, timestamp, broker_name, ..SearchOffset::default() };
        self.offset(session, Command::request(RequestCode::SEARCH_OFFSET_BY_TIMESTAMP).with_header(&header))
    }

    fn offset(&self, session: &mut Session, request: Command) -> Result<i64> {
        Ok(session.client.done(self.address, request)?.header::<OffsetResponse<'_>>()?.offset)
    }

    /// At most `count` messages from `offset` on; nothing waits for new ones.
    ///
    /// # Errors
    /// The broker cannot be asked or refuses.
    pub(super) fn pull(&self, session: &mut Session, tags: &str, offset: i64, count: i32) -> Result<Pulled> {
        let header = PullMessage {
            consumer_group: GROUP,
            topic: self.topic,
            queue_id: self.id,
            queue_offset: offset,
            max_msg_nums: count,
            sys_flag: sys_flag::pull::SUBSCRIPTION,
            subscription: Some(tags),
            expression_type: Some("TAG"),
            broker_name: Some(self.broker),
            ..PullMessage::default()
        };
        let request = Command::request(RequestCode::PULL_MESSAGE).with_header(&header);
        let answer = session.client.ask(self.address, request)?;
        let status = match ResponseCode(answer.code) {
            ResponseCode::SUCCESS => "FOUND",
            ResponseCode::PULL_NOT_FOUND => "NO_NEW_MSG",
            ResponseCode::PULL_RETRY_IMMEDIATELY => "NO_MATCHED_MSG",
            ResponseCode::PULL_OFFSET_MOVED => "OFFSET_ILLEGAL",
            _ => {
                super::client::granted(self.address, RequestCode::PULL_MESSAGE, answer)?;
                return Ok(Pulled { status: "NO_NEW_MSG", messages: Vec::new(), next: offset });
            }
        };
        let header: PullMessageResponse<'_> = answer.header()?;
        let mut messages = if status == "FOUND" { messages(&answer, self.broker)? } else { Vec::new() };
        for message in &mut messages {
            // As clients do.
            message.properties.insert(name::MIN_OFFSET.to_owned(), header.min_offset.to_string());
            message.properties.insert(name::MAX_OFFSET.to_owned(), header.max_offset.to_string());
        }
        Ok(Pulled { status, messages, next: header.next_begin_offset })
    }
}
