//! Fields at fixed places of a datagram.

/// The `N` bytes from `at` on, if there are so many.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
