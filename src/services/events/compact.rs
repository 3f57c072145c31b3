//! Batches for the tunnel: what follows an event of the same moment is sent without the stamp that it shares with it.
//!
//! In: elements as they lie in queues, each with its stamp (source and time) at its end. Out: the same events with
//! `EventBatch.more` in place of `EventBatch.events` where the stamp is that of the event before; and back. Publishing
//! at full speed stamps hundreds of events at once, so a stamp of 25 bytes is carried once for all of them.

use bytes::{BufMut, Bytes, BytesMut};

use super::event::Stamp;
use super::wire::{Fields, Value, put_varint};

/// The key of an element of `EventBatch.events`.
const EVENTS: u8 = 1 << 3 | 2;
/// The key of an element of `EventBatch.more`.
const MORE: u8 = 7 << 3 | 2;

/// `batch` with each stamp once; it holds nothing but events, stamped as `source` is.
pub fn compacted(batch: &[u8], source: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(batch.len());
    let mut last: &[u8] = &[];
    for field in Fields::of(batch).map_while(Result::ok) {
        let Value::Bytes(body) = field.value else { continue };
        let (event, stamp) = body.split_at(body.len().saturating_sub(Stamp::LEN));
        if stamp == last && stamp.starts_with(source) {
            out.put_u8(MORE);
            put_varint(&mut out, event.len() as u64);
            out.put_slice(event);
        } else {
            out.put_slice(field.whole);
            last = stamp;
        }
    }
    out.freeze()
}

/// `batch` with a stamp in each event; unchanged where it was so already.
pub fn expanded(batch: Bytes) -> Bytes {
    let is_more = |number| number == 7;
    if !Fields::of(&batch).map_while(Result::ok).any(|field| is_more(field.number)) {
        return batch;
    }
    let mut out = BytesMut::with_capacity(batch.len() + batch.len() / 4);
    let mut last: &[u8] = &[];
    for field in Fields::of(&batch).map_while(Result::ok) {
        match field.value {
            Value::Bytes(event) if is_more(field.number) => {
                out.put_u8(EVENTS);
                put_varint(&mut out, (event.len() + last.len()) as u64);
                out.put_slice(event);
                out.put_slice(last);
            }
            Value::Bytes(body) if field.number == 1 => {
                out.put_slice(field.whole);
                last = body.get(body.len().saturating_sub(Stamp::LEN)..).unwrap_or_default();
            }
            _ => out.put_slice(field.whole),
        }
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::super::event::{EventView, NewEvent};
    use super::*;
    use crate::identity::NodeId;
    use proptest::prelude::*;

    /// Events that were published at these moments.
    fn stamped(moments: &[u64]) -> Bytes {
        let mut out = Vec::new();
        for (index, moment) in moments.iter().enumerate() {
            let mut body = BytesMut::new();
            let data = vec![b'1'; index % 300];
            NewEvent { topic: "a.b", data: &data, ..NewEvent::default() }.put(&mut body);
            let (_, body) = super::super::batch::elements(&body).next().unwrap();
            EventView::parse(body).unwrap().offer().put_stamped(&stamp(*moment), index as u64 + 1, &mut out);
        }
        out.into()
    }

    fn stamp(moment: u64) -> Stamp {
        Stamp::new(NodeId::from_bytes([1, 2, 3, 4, 5, 6]), moment)
    }

    #[test]
    fn a_shared_stamp_is_carried_once() {
        let batch = stamped(&[7; 100]);
        let short = compacted(&batch, stamp(0).source());
        assert!(batch.len() - short.len() >= 99 * Stamp::LEN);
        assert!(compacted(&batch, stamp(0).source().get(..5).unwrap()).len() == short.len());
        assert_eq!(compacted(&batch, b"another"), batch, "what is not ours stays as it is");
    }

    proptest! {
        #[test]
        fn what_was_compacted_expands_to_the_same(moments in prop::collection::vec(0u64..4, 0..40)) {
            let batch = stamped(&moments);
            let short = compacted(&batch, stamp(0).source());
            prop_assert!(short.len() <= batch.len());
            prop_assert_eq!(expanded(short), batch);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = compacted(&bytes, &[]);
            let _ = expanded(bytes.into());
        }
    }
}
