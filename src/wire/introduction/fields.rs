//! Fields that several messages have.

use prost::Message;

use super::BodyError;
use crate::identity::Hostname;

/// Decodes a message of at most `max` bytes.
pub(super) fn decode<M: Message + Default>(message: &'static str, bytes: &[u8], max: usize) -> Result<M, BodyError> {
    if bytes.len() > max {
        let len = bytes.len();
        return Err(BodyError::TooLong { message, len, max });
    }
    M::decode(bytes).map_err(|_| BodyError::NotProtobuf(message))
}

/// A field of exactly `N` bytes; `expected` is `N` in words, for the error.
pub(super) fn exact<const N: usize>(
    field: &'static str,
    bytes: &[u8],
    expected: &'static str,
) -> Result<[u8; N], BodyError> {
    bytes.try_into().map_err(|_| BodyError::Length { field, len: bytes.len(), expected })
}

/// A host name, where empty means none.
pub(super) fn hostname(text: &str) -> Result<Option<Hostname>, BodyError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| BodyError::Invalid {
        field: "hostname",
        expected: "1 to 63 lowercase letters, digits and inner hyphens, or empty",
    })
}

/// A host name as its field.
pub(super) fn hostname_text(hostname: &Option<Hostname>) -> String {
    hostname.as_ref().map_or_else(String::new, Hostname::to_string)
}
