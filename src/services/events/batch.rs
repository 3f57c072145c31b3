//! Batches: events one after the other, and what is said between them.
//!
//! In: an `EventBatch` of a node, or the pieces of one. Out: its items in their order, read where they lie.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::wire::{Fields, Malformed, Value, put_bytes, put_number};
use crate::control::Error;
use crate::services::api;

/// One item of an `EventBatch`.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// An event, and the element that it came in.
    Event {
        /// For [`EventView::parse`](super::event::EventView::parse).
        body: &'a [u8],
        /// To be passed on.
        element: &'a [u8],
    },
    /// Events were lost here.
    Missed(u64),
    /// It is this queue group's turn.
    Group(&'a str),
    /// The events are for those groups alone.
    GroupsOnly,
    /// A `flush` came through.
    Flushed(u64),
    /// A request was refused.
    Refused(Error),
}

/// The items of a batch; what is unknown is passed over.
///
/// # Errors
/// Each item: [`Malformed`], the last then.
pub fn items(batch: &[u8]) -> impl Iterator<Item = Result<Item<'_>, Malformed>> {
    Fields::of(batch).filter_map(|field| {
        let field = match field {
            Ok(field) => field,
            Err(error) => return Some(Err(error)),
        };
        match (field.number, field.value) {
            (1, Value::Bytes(body)) => Some(Ok(Item::Event { body, element: field.whole })),
            (2, Value::Bytes(bytes)) => Some(missed(bytes).map(Item::Missed)),
            (3, Value::Bytes(bytes)) => Some(str::from_utf8(bytes).map(Item::Group).map_err(|_| Malformed)),
            (4, Value::Number(number)) => (number != 0).then_some(Ok(Item::GroupsOnly)),
            (5, Value::Number(number)) => Some(Ok(Item::Flushed(number))),
            (6, Value::Bytes(bytes)) => Some(refusal(bytes).map(Item::Refused)),
            _ => None,
        }
    })
}

fn missed(bytes: &[u8]) -> Result<u64, Malformed> {
    api::Missed::decode(bytes).map(|missed| missed.count).map_err(|_| Malformed)
}

fn refusal(bytes: &[u8]) -> Result<Error, Malformed> {
    let refusal = api::Refusal::decode(bytes).map_err(|_| Malformed)?;
    Ok(Error { code: refusal.code, message: refusal.message, hint: refusal.hint })
}

/// How long the element at the front of `batch` is.
pub fn element_len(batch: &[u8]) -> usize {
    Fields::of(batch).next().and_then(Result::ok).map_or(batch.len(), |field| field.whole.len())
}

/// The events of a batch that holds nothing else, each with its place.
pub fn elements(batch: &[u8]) -> impl Iterator<Item = (Range<usize>, &[u8])> {
    let mut start = 0;
    Fields::of(batch).map_while(Result::ok).filter_map(move |field| {
        let place = start..start + field.whole.len();
        start = place.end;
        match field.value {
            Value::Bytes(body) => Some((place, body)),
            Value::Number(_) => None,
        }
    })
}

/// Appends that `count` events were lost.
pub fn put_missed(out: &mut BytesMut, count: u64) {
    let mut inner = BytesMut::new();
    put_number(&mut inner, 1, count);
    put_bytes(out, 2, &inner);
}

/// The batch that answers a `flush`.
pub fn flushed(number: u64) -> Bytes {
    let mut out = BytesMut::new();
    put_number(&mut out, 5, number);
    out.freeze()
}

/// The batch that refuses something.
pub fn refused(error: &Error) -> Bytes {
    let refusal = api::Refusal { code: error.code.clone(), message: error.message.clone(), hint: error.hint.clone() };
    let mut out = BytesMut::new();
    put_bytes(&mut out, 6, &refusal.encode_to_vec());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn items_come_in_their_order() {
        let mut batch = BytesMut::new();
        put_missed(&mut batch, 3);
        batch.extend_from_slice(&[0x0a, 2, 0x0a, 0]);
        batch.extend_from_slice(&flushed(9));
        let error = Error::new("not_found", "nobody").hint("look");
        batch.extend_from_slice(&refused(&error));
        let seen: Vec<_> = items(&batch).map(Result::unwrap).collect();
        let event = Item::Event { body: &[0x0a, 0], element: &[0x0a, 2, 0x0a, 0] };
        assert_eq!(seen, [Item::Missed(3), event, Item::Flushed(9), Item::Refused(error)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = items(&bytes).count();
            let _ = elements(&bytes).count();
            prop_assert!(element_len(&bytes) <= bytes.len());
        }
    }
}
