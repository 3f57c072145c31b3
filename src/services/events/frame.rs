//! Frames: a 4-byte big-endian length and as many bytes, at most [`MAX_FRAME`].
//!
//! In: what a connection gave, in any pieces. Out: whole frames, without a copy. One way a frame holds a `LinkRequest`,
//! the other way an `EventBatch`; what it says is left to the caller.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::control::Error;

/// The longest frame, bytes, without its length.
pub const MAX_FRAME: usize = 1 << 20;
/// Bytes of the length.
pub const HEADER: usize = 4;

/// The header of a frame of `length` bytes.
pub fn header(length: usize) -> [u8; HEADER] {
    (length as u32).to_be_bytes()
}

/// Appends `bytes` as one frame.
pub fn put_frame(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(HEADER + bytes.len());
    out.put_slice(&header(bytes.len()));
    out.put_slice(bytes);
}

/// Takes the next whole frame from the front of `buffer`; none when more is to be read first.
///
/// # Errors
/// `too_large` for a frame above [`MAX_FRAME`]: where the next one begins is not known then.
pub fn take_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, Error> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header) as usize;
    if length > MAX_FRAME {
        return Err(Error::new("too_large", format!("a frame of {length} bytes, more than {MAX_FRAME}"))
            .hint("send fewer events in a frame"));
    }
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    buffer.advance(HEADER);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back_whatever_the_pieces(frames: Vec<Vec<u8>>, piece in 1usize..50) {
            let mut sent = BytesMut::new();
            frames.iter().for_each(|frame| put_frame(&mut sent, frame));
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for piece in sent.chunks(piece) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = take_frame(&mut buffer).unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take_frame(&mut buffer) {}
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_it_comes() {
        let mut buffer = BytesMut::from(&header(MAX_FRAME + 1)[..]);
        assert_eq!(take_frame(&mut buffer).unwrap_err().code, "too_large");
    }
}
