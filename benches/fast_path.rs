//! The parts of the fast path, in nanoseconds: `make bench`.

#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

mod parts;

use criterion::{Criterion, criterion_group, criterion_main};

fn parts(criterion: &mut Criterion) {
    for (name, prepare) in parts::all() {
        let mut prepare = Some(prepare);
        let mut part = None;
        // Criterion calls this only for parts that were asked for, and more than once.
        criterion.bench_function(&name, |bencher| {
            let part = part.get_or_insert_with(|| prepare.take().expect("prepared once")());
            bencher.iter(part);
        });
    }
}

criterion_group!(fast_path, parts);
criterion_main!(fast_path);
