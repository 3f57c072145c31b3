//! `pilotctl status`: counters and states, of a node or of a rendezvous server.

use std::process::ExitCode;

use serde_json::Value;

use super::{Session, format};
use crate::control::{Error, Request};

pub async fn run(session: &Session) -> Result<ExitCode, Error> {
    session.show(&Request::Status, |_, status: Value| human(&status)).await
}

/// The two servers count different things: whatever there is, a line each, zero counters left out.
fn human(status: &Value) -> String {
    let mut rows = Vec::new();
    flatten("", status, &mut rows);
    let rows: Vec<(&str, String)> = rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    format::pairs(&rows)
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, rows);
            }
        }
        Value::Null => {}
        Value::Number(number) if number.as_u64() == Some(0) && prefix.contains("drops.") => {}
        Value::String(text) => rows.push((prefix.to_owned(), text.clone())),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (number, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}.{number}"), item, rows);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            rows.push((prefix.to_owned(), items.join(", ")));
        }
        other => rows.push((prefix.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn whatever_a_server_counts_is_shown_but_zeros_of_drops() {
        let text = super::human(
            &json!({"a": 0, "drops": {"stranger": 0, "forged": 2}, "list": ["x", 1], "none": null, "of": [{"b": 3}]}),
        );
        assert_eq!(text, "a             0\ndrops.forged  2\nlist          x, 1\nof.0.b        3\n");
    }
}
