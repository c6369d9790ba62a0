//! Typed headers: the meaning of a command's string fields.
//!
//! [`headers!`] declares them as tables. One struct serves both the long names of the first protocol version
//! and the single letters of `SEND_MESSAGE_V2`: a field lists the names under which it may arrive, the first is
//! the one that is written.

use crate::fields::Fields;

/// Why fields could not be read as a header. The text goes to the client as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("the custom field <{0}> is null")]
    Missing(&'static str),
    #[error("the custom field <{0}> is not a valid {1}: {2:?}")]
    Invalid(&'static str, &'static str, String),
}

/// A set of typed fields that can be read from and written to [`Fields`].
pub trait Header<'a>: Sized {
    /// # Errors
    /// A required field is missing or a value is not of its type.
    fn decode(fields: &'a Fields) -> Result<Self, HeaderError>;
    fn encode(&self, fields: &mut Fields);
}

/// A type that a header field can have.
pub trait Value<'a>: Sized {
    /// What the type is called in an error.
    const NAME: &'static str;
    /// What an absent field means, if it may be absent.
    fn absent() -> Option<Self> {
        None
    }
    fn parse(text: &'a str) -> Option<Self>;
    /// Writes the value, or returns false where nothing is to be written.
    fn write(&self, key: &str, fields: &mut Fields);
}

impl<'a> Value<'a> for &'a str {
    const NAME: &'static str = "string";
    fn parse(text: &'a str) -> Option<Self> {
        Some(text)
    }
    fn write(&self, key: &str, fields: &mut Fields) {
        fields.push(key, self);
    }
}

macro_rules! parsed_values {
    ($($type:ty => $name:literal),*) => {$(
        impl<'a> Value<'a> for $type {
            const NAME: &'static str = $name;
            fn parse(text: &'a str) -> Option<Self> {
                text.parse().ok()
            }
            fn write(&self, key: &str, fields: &mut Fields) {
                use std::fmt::Write;
                // holds because writing to a string cannot fail
                fields.push_with(key, |text| { let _ = write!(text, "{self}"); });
            }
        }
    )*};
}
parsed_values!(i32 => "32-bit number", i64 => "64-bit number");

impl<'a> Value<'a> for bool {
    const NAME: &'static str = "boolean";
    /// As Java's `Boolean.parseBoolean`: whatever is not "true" is false.
    fn parse(text: &'a str) -> Option<Self> {
        Some(text.eq_ignore_ascii_case("true"))
    }
    fn write(&self, key: &str, fields: &mut Fields) {
        fields.push(key, if *self { "true" } else { "false" });
    }
}

impl<'a, T: Value<'a>> Value<'a> for Option<T> {
    const NAME: &'static str = T::NAME;
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn parse(text: &'a str) -> Option<Self> {
        T::parse(text).map(Some)
    }
    fn write(&self, key: &str, fields: &mut Fields) {
        if let Some(value) = self {
            value.write(key, fields);
        }
    }
}

/// Declares headers: `Name { field: Type = "name on the wire" | "other name", … }`. `Option` fields may be
/// absent, others are required. A `'a` lifetime is always there, for the string fields.
#[macro_export]
macro_rules! headers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty = $wire:literal $(| $alias:literal)* ),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name<'a> {
            $($(#[$fdoc])* pub $field: $type,)*
            #[doc(hidden)]
            pub lifetime: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $crate::header::Header<'a> for $name<'a> {
            #[allow(unused_variables, unused_mut)]
            fn decode(fields: &'a $crate::fields::Fields) -> Result<Self, $crate::header::HeaderError> {
                $(let mut $field: Option<$type> = None;)*
                for (key, value) in fields.iter() {
                    match key {
                        $($wire $(| $alias)* => {
                            $field = Some(<$type as $crate::header::Value>::parse(value).ok_or_else(|| {
                                $crate::header::HeaderError::Invalid(
                                    $wire, <$type as $crate::header::Value>::NAME, value.chars().take(64).collect())
                            })?);
                        })*
                        _ => {}
                    }
                }
                Ok(Self {
                    $($field: match $field.or_else(<$type as $crate::header::Value>::absent) {
                        Some(value) => value,
                        None => return Err($crate::header::HeaderError::Missing($wire)),
                    },)*
                    lifetime: std::marker::PhantomData,
                })
            }

            #[allow(unused_variables)]
            fn encode(&self, fields: &mut $crate::fields::Fields) {
                $($crate::header::Value::write(&self.$field, $wire, fields);)*
            }
        }
    )*};
}

mod table;
pub use table::*;
