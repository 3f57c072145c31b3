//! Protobuf by hand, as far as events need it: to walk over fields without copying, and to write them.
//!
//! In: bytes of anybody. Out: fields in their order, or [`Malformed`]; no byte of input is copied, none is trusted.

use bytes::{BufMut, BytesMut};

use crate::control::Error;

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Error {
        Error::new("invalid_request", "the bytes are no message of proto/pilot/v1/events.proto")
            .hint("generate the messages from the .proto that reflection publishes")
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, variable or fixed in length.
    Number(u64),
    /// Text, bytes, or a message.
    Bytes(&'a [u8]),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number in the .proto.
    pub number: u32,
    /// Its content.
    pub value: Value<'a>,
    /// All of it: key, length and content.
    pub whole: &'a [u8],
}

/// The fields of a message, in their order; ends after the first that is malformed.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    #[inline]
    fn read(&mut self) -> Option<Field<'a>> {
        let start = self.rest;
        let mut rest = start;
        let key = varint(&mut rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => Value::Number(u64::from_le_bytes(*take_array(&mut rest)?)),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes)
            }
            5 => Value::Number(u64::from(u32::from_le_bytes(*take_array(&mut rest)?))),
            _ => return None,
        };
        let whole = start.get(..start.len() - rest.len())?;
        self.rest = rest;
        Some(Field { number, value, whole })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read().ok_or(Malformed);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn take_array<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (array, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(array)
}

/// Takes a variable-length number from the front of `rest`.
#[inline]
pub fn varint(rest: &mut &[u8]) -> Option<u64> {
    match rest {
        [one @ 0..0x80, after @ ..] => {
            let number = u64::from(*one);
            *rest = after;
            Some(number)
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (index, byte) in rest.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = rest.get(index + 1..)?;
            return Some(number);
        }
    }
    None
}

/// A few bytes, put together here and then appended at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    bytes: [u8; Head::MOST],
    length: usize,
}

impl Head {
    /// More than these are left out: the keys and numbers of two fields.
    const MOST: usize = 32;

    /// Adds a byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Adds a variable-length number.
    #[inline]
    pub fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// Adds the key and the length of a field that is text, bytes or a message.
    #[inline]
    pub fn field(&mut self, field: u32, length: usize) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(length as u64);
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Appends them; a copy of a fixed size, of which the end is taken back, costs less than one of any size.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.length;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

/// How many bytes a variable-length number takes.
pub fn varint_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Writes a variable-length number.
pub fn put_varint(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Writes a field that is a number; 0 is left out, as everywhere in proto3.
pub fn put_number(out: &mut BytesMut, field: u32, number: u64) {
    if number != 0 {
        put_varint(out, u64::from(field) << 3);
        put_varint(out, number);
    }
}

/// Writes a field of text, bytes or a message; also an empty one.
pub fn put_bytes(out: &mut BytesMut, field: u32, bytes: &[u8]) {
    let mut head = Head::default();
    head.field(field, bytes.len());
    out.extend_from_slice(head.as_slice());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: u64) {
            let mut out = BytesMut::new();
            put_varint(&mut out, number);
            prop_assert_eq!(out.len(), varint_len(number));
            let mut rest = &out[..];
            prop_assert_eq!(varint(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn the_fields_of_any_bytes_are_those_bytes_in_order(bytes: Vec<u8>) {
            let mut seen = 0;
            for field in Fields::of(&bytes).map_while(Result::ok) {
                prop_assert_eq!(&bytes[seen..seen + field.whole.len()], field.whole);
                seen += field.whole.len();
            }
            prop_assert!(seen <= bytes.len());
        }
    }
}
