//! What this CPU is good at.

use std::thread::available_parallelism;

/// The most threads that send packets, and that receive them.
const MAX_THREADS: usize = 4;

/// How many threads should send packets, and how many receive them: one each for two processors, because programs want
/// some as well.
pub fn threads_each_way() -> usize {
    let processors = available_parallelism().map_or(1, |count| count.get());
    (processors / 2).clamp(1, MAX_THREADS)
}

/// Whether it has the instructions that make AES-GCM quick: AES and carry-less multiplication.
pub fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
