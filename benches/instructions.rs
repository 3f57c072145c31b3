//! Does one part of the fast path many times in a function that callgrind can find: `make instructions`.
//!
//! `instructions list` prints the names of all parts; `instructions run NAME` does one.

#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

mod parts;

use parts::Part;

/// How often a part is done while instructions are counted.
const TIMES: u32 = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => parts::all().iter().for_each(|(name, _)| println!("{name}")),
        ["run", wanted] => {
            let found = parts::all().into_iter().find(|(name, _)| name == wanted);
            let (_, prepare) = found.expect("a part of this name");
            let mut part = prepare();
            // What is done but once does not count.
            part();
            counted_part(&mut part);
        }
        // `cargo bench` starts every bench: this one has nothing to time.
        _ => {}
    }
}

/// The only function whose instructions, and those of what it calls, count.
#[inline(never)]
fn counted_part(part: &mut Part) {
    for _ in 0..TIMES {
        part();
    }
}
