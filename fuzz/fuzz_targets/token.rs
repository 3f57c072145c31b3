//! Join tokens as text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilot::identity::Token;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<Token>() {
        let again: Token = token.to_text().parse().expect("what we write, we read");
        assert_eq!(again.to_text(), token.to_text());
    }
});
