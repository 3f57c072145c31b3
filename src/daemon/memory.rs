//! Gives memory back to the system when it is not needed any more.

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

/// Lets go of the code that this program has run so far: starting takes more of it than all that follows. What is needed
/// again comes back from the system's cache, page by page.
pub fn forget_the_start() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let is_ours = |line: &&str| line.contains(" r-xp ") && line.ends_with(program.to_string_lossy().as_ref());
    for (start, end) in maps.lines().filter(is_ours).filter_map(range) {
        // SAFETY: an unchanged, read-only part of a file: the same bytes are read from it again.
        unsafe { libc::madvise(start as *mut libc::c_void, end.saturating_sub(start), libc::MADV_DONTNEED) };
    }
}

/// The addresses at the start of a line of `/proc/self/maps`.
fn range(line: &str) -> Option<(usize, usize)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}
