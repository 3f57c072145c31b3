//! Reading big-endian fields off the front of a slice, and writing some, without ever reaching past its end.

/// Takes the first `N` bytes off the front; `None` leaves the input as it was.
pub(super) fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}

/// Writes over the bytes from `at` on; `None`, and nothing is written, where they do not all exist.
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value;
    Some(())
}

/// Takes a byte.
pub(super) fn take_u8(input: &mut &[u8]) -> Option<u8> {
    take::<1>(input).map(|[byte]| byte)
}

/// Takes a big-endian 16-bit number.
pub(super) fn take_u16(input: &mut &[u8]) -> Option<u16> {
    take(input).map(u16::from_be_bytes)
}

/// Takes a big-endian 32-bit number.
pub(super) fn take_u32(input: &mut &[u8]) -> Option<u32> {
    take(input).map(u32::from_be_bytes)
}

/// Takes a big-endian 64-bit number.
pub(super) fn take_u64(input: &mut &[u8]) -> Option<u64> {
    take(input).map(u64::from_be_bytes)
}
