//! The JSON header. Members: `code language version opaque flag remark extFields serializeTypeCurrentRPC`;
//! all may come in any order or not at all, unknown ones are skipped, field values that are not strings (some clients
//! send numbers and booleans) are taken by their text. Written byte for byte as Apache 5.5 does.

use super::{Command, Encoding, scan};
use crate::fields::Fields;
use crate::language::Language;
use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use std::borrow::Cow;
use std::fmt;

pub(super) fn decode(header: &[u8], body: Bytes) -> Result<Command, String> {
    let head: Head = serde_json::from_slice(header).map_err(|e| e.to_string())?;
    Ok(Command {
        code: head.code,
        language: head.language,
        version: head.version,
        opaque: head.opaque,
        flag: head.flag,
        remark: head.remark,
        fields: head.fields,
        encoding: Encoding::Json,
        body,
    })
}

struct Head {
    code: i32,
    language: Language,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<String>,
    fields: Fields,
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadVisitor;
        impl<'de> Visitor<'de> for HeadVisitor {
            type Value = Head;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command header object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
                let mut head = Head {
                    code: 0,
                    language: Language::OTHER,
                    version: 0,
                    opaque: 0,
                    flag: 0,
                    remark: None,
                    fields: Fields::new(),
                };
                while let Some(Text(key)) = map.next_key()? {
                    match &*key {
                        "code" => head.code = map.next_value::<Number>()?.0,
                        "language" => {
                            let name = map.next_value::<Option<Scalar<'_>>>()?;
                            head.language = name.map_or(Language::OTHER, |name| Language::from_name(&name.0));
                        }
                        "version" => head.version = map.next_value::<Number>()?.0,
                        "opaque" => head.opaque = map.next_value::<Number>()?.0,
                        "flag" => head.flag = map.next_value::<Number>()?.0,
                        "remark" => head.remark = map.next_value()?,
                        "extFields" => {
                            head.fields =
                                map.next_value::<Option<ExtFields>>()?.map_or_else(Fields::new, |f| f.0);
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(head)
            }
        }
        deserializer.deserialize_map(HeadVisitor)
    }
}

struct ExtFields(Fields);

impl<'de> Deserialize<'de> for ExtFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = ExtFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of string fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExtFields, A::Error> {
                let mut fields = Fields::with_capacity(16, 256);
                while let Some(Text(key)) = map.next_key()? {
                    // A null is as good as absent: Java maps it to one.
                    if let Some(Scalar(value)) = map.next_value()? {
                        fields.push(&key, &value);
                    }
                }
                Ok(ExtFields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// A string, borrowed from the header unless it has escapes.
struct Text<'a>(Cow<'a, str>);

/// A number, or as fastjson takes it a string that holds one; null is 0.
struct Number(i32);

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 32-bit number")
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Number, E> {
        v.try_into().map(Number).map_err(|_| E::invalid_value(Unexpected::Signed(v), &self))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Number, E> {
        v.try_into().map(Number).map_err(|_| E::invalid_value(Unexpected::Unsigned(v), &self))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Number, E> {
        v.parse().map(Number).map_err(|_| E::invalid_value(Unexpected::Str(v), &self))
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number(0))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// The text of a JSON string, number or boolean.
struct Scalar<'a>(Cow<'a, str>);

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number or boolean")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_owned()))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_string()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_string()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_string()))
    }

    fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_string()))
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Scalar)
    }
}

pub(super) fn encode(command: &Command, out: &mut BytesMut) {
    out.put_slice(b"{\"code\":");
    number(out, command.code);
    if !command.fields.is_empty() {
        out.put_slice(b",\"extFields\":{");
        for (i, (key, value)) in command.fields.iter().enumerate() {
            if i > 0 {
                out.put_u8(b',');
            }
            string(out, key);
            out.put_u8(b':');
            string(out, value);
        }
        out.put_u8(b'}');
    }
    out.put_slice(b",\"flag\":");
    number(out, command.flag);
    out.put_slice(b",\"language\":\"");
    out.put_slice(command.language.name().as_bytes());
    out.put_slice(b"\",\"opaque\":");
    number(out, command.opaque);
    if let Some(remark) = &command.remark {
        out.put_slice(b",\"remark\":");
        string(out, remark);
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    number(out, command.version);
    out.put_u8(b'}');
}

fn number(out: &mut BytesMut, n: i32) {
    use fmt::Write;
    // holds because writing to a buffer that grows cannot fail
    let _ = write!(out, "{n}");
}

fn string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    scan::put_escaped(text, |part| out.extend_from_slice(part));
    out.put_u8(b'"');
}
