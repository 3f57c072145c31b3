//! An allocator that counts what a thread has in use, as glibc rounds it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted.
pub struct Counted;

thread_local! {
    /// Below zero where a thread frees what another has allocated.
    static IN_USE: Cell<isize> = const { Cell::new(0) };
}

/// Bytes that this thread has on the heap.
pub fn in_use() -> isize {
    IN_USE.get()
}

/// A chunk of glibc's malloc: 8 bytes beside, in steps of 16, at least 32.
fn chunk(layout: Layout) -> isize {
    (layout.size() + 8).next_multiple_of(16).max(32).cast_signed()
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.set(IN_USE.get() + chunk(layout));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.set(IN_USE.get() - chunk(layout));
        // SAFETY: `place` came from `alloc` with this layout.
        unsafe { System.dealloc(place, layout) }
    }
}
