//! Names of files as others say them, made safe to use as names of ours.

/// The longest name, bytes: with a number behind it it still fits every file system.
const LONGEST: usize = 200;

/// The last part of `name` as a plain, visible file name.
pub fn safe(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let marks = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain: String = last.chars().filter(|c| !c.is_control() && !marks(*c)).collect();
    let visible = plain.trim_start_matches(['.', ' ', '-']).trim_end_matches([' ', '.']);
    if visible.is_empty() { "file".to_owned() } else { shortened(visible) }
}

/// Keeps the ending, which says what a file is.
fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let (stem, ending) = split(name);
    let ending = if ending.len() <= 20 { ending } else { "" };
    let mut kept = String::new();
    for c in stem.chars() {
        if kept.len() + c.len_utf8() + ending.len() > LONGEST {
            break;
        }
        kept.push(c);
    }
    kept + ending
}

/// `NAME`, then `NAME (2)`, `NAME (3)`, … with the number before the ending.
pub fn numbered(name: &str, number: u32) -> String {
    if number < 2 {
        return name.to_owned();
    }
    let (stem, ending) = split(name);
    format!("{stem} ({number}){ending}")
}

fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_lead_nowhere_else_and_hide_nothing() {
        for (name, expected) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\x.exe", "x.exe"),
            (".bashrc", "bashrc"),
            ("..", "file"),
            ("a/", "file"),
            ("-rf", "rf"),
            ("a\u{202e}gpj.exe\0", "agpj.exe"),
        ] {
            assert_eq!(safe(name), expected);
        }
        assert_eq!(numbered("a.tar.gz", 2), "a.tar (2).gz");
        assert_eq!(numbered("a", 1), "a");
    }

    proptest! {
        #[test]
        fn every_name_becomes_one(name in ".*") {
            let safe = safe(&name);
            prop_assert!(!safe.is_empty() && safe.len() <= LONGEST && !safe.starts_with('.'));
            prop_assert!(!safe.contains(['/', '\\', '\0']));
        }
    }
}
