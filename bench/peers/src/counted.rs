//! An allocator that counts what is in use, as glibc rounds it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, counted.
pub struct Counted;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Bytes in use on the heap.
pub fn in_use() -> usize {
    IN_USE.load(Relaxed)
}

/// A chunk of glibc's malloc: 8 bytes beside, in steps of 16, at least 32.
fn chunk(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(chunk(layout), Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(chunk(layout), Relaxed);
        // SAFETY: `place` came from `alloc` with this layout.
        unsafe { System.dealloc(place, layout) }
    }
}
