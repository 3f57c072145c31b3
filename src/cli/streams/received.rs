//! What came on a stream, as one JSON object.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::services::streams::Announced;

/// Adds received bytes to an object: text as `data`, anything else as `data_base64`.
pub fn with_data(mut object: Value, bytes: Vec<u8>) -> Value {
    object["bytes"] = bytes.len().into();
    match String::from_utf8(bytes) {
        Ok(text) => object["data"] = text.into(),
        Err(error) => object["data_base64"] = BASE64_STANDARD.encode(error.as_bytes()).into(),
    }
    object
}

/// Who sent on which port.
pub fn from(announced: &Announced) -> Value {
    json!({"node_id": announced.node_id, "hostname": announced.hostname, "port": announced.port})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_readable_and_other_bytes_survive() {
        assert_eq!(with_data(json!({}), b"ok\n".to_vec()), json!({"bytes": 3, "data": "ok\n"}));
        assert_eq!(with_data(json!({}), vec![0xff, 0]), json!({"bytes": 2, "data_base64": "/wA="}));
    }
}
