//! The ROCKETMQ header: `code i16 | language u8 | version i16 | opaque i32 | flag i32 | remark len i32 · bytes |
//! fields len i32 · (key len i16 · key | value len i32 · value)*`, big-endian. Source: Apache's `RocketMQSerializable`.

use super::{Command, Encoding};
use crate::fields::Fields;
use crate::language::Language;
use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(super) fn decode(mut header: &[u8], body: Bytes) -> Result<Command, String> {
    let h = &mut header;
    let short = |_| "header ends too early".to_owned();
    let code = i32::from(h.try_get_i16().map_err(short)?);
    let language = Language(h.try_get_u8().map_err(short)?);
    let version = i32::from(h.try_get_i16().map_err(short)?);
    let opaque = h.try_get_i32().map_err(short)?;
    let flag = h.try_get_i32().map_err(short)?;
    let remark_len = h.try_get_i32().map_err(short)?;
    let remark = match text(h, remark_len)? {
        "" => None,
        remark => Some(remark.to_owned()),
    };
    // A header may end here: Apache writes a zero length, others nothing.
    let fields_len = if h.has_remaining() { h.try_get_i32().map_err(short)? } else { 0 };
    let mut pairs = take(h, fields_len)?;
    let mut fields = Fields::with_capacity(16, pairs.len());
    while pairs.has_remaining() {
        let key_len = i32::from(pairs.try_get_i16().map_err(short)?);
        let key = text(&mut pairs, key_len)?;
        let value_len = pairs.try_get_i32().map_err(short)?;
        fields.push(key, text(&mut pairs, value_len)?);
    }
    Ok(Command { code, language, version, opaque, flag, remark, fields, encoding: Encoding::Rocketmq, body })
}

fn take<'a>(from: &mut &'a [u8], len: i32) -> Result<&'a [u8], String> {
    let len = usize::try_from(len).map_err(|_| format!("negative length {len}"))?;
    let (part, rest) =
        from.split_at_checked(len).ok_or_else(|| format!("length {len} exceeds the header"))?;
    *from = rest;
    Ok(part)
}

fn text<'a>(from: &mut &'a [u8], len: i32) -> Result<&'a str, String> {
    std::str::from_utf8(take(from, len)?).map_err(|e| format!("not UTF-8: {e}"))
}

pub(super) fn encode(command: &Command, out: &mut BytesMut) {
    // Truncation to 16 bits is the format's own; see the aliases in `codes`.
    out.put_i16(command.code as i16);
    out.put_u8(command.language.0);
    out.put_i16(command.version as i16);
    out.put_i32(command.opaque);
    out.put_i32(command.flag);
    let remark = command.remark.as_deref().unwrap_or_default();
    out.put_i32(remark.len() as i32);
    out.put_slice(remark.as_bytes());
    let fields_len: usize = command.fields.iter().map(|(k, v)| 6 + k.len() + v.len()).sum();
    out.put_i32(fields_len as i32);
    for (key, value) in command.fields.iter() {
        out.put_i16(key.len() as i16);
        out.put_slice(key.as_bytes());
        out.put_i32(value.len() as i32);
        out.put_slice(value.as_bytes());
    }
}
