//! Gives memory back to the system when it is not needed any more.

#[cfg(target_env = "gnu")]
use nix::libc;

/// From this size on, in bytes, a block is the system's own and goes back when it is freed.
#[cfg(target_env = "gnu")]
const OWN_BLOCK: libc::c_int = 256 << 10;
/// Sets the C library's allocator up for a process that lives long: by default it keeps the 19 MiB that deriving a node ID
/// takes once, and up to eight heaps a core.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    {
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        let heaps = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
        for (parameter, value) in [(libc::M_MMAP_THRESHOLD, OWN_BLOCK), (libc::M_ARENA_MAX, heaps)] {
            // SAFETY: only numbers are passed, before there is another thread.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}
