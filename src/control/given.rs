//! Members of a JSON object that may be left out, and of which `null` is a value like any other.

use serde::{Deserialize, Deserializer};

/// A member that is there, be it as `null`: `#[serde(default, deserialize_with = "given")]`.
///
/// # Errors
/// What the member's own type says.
pub fn given<'de, T, D>(member: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(member).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow, default, deserialize_with = "given")]
        data: Option<&'a RawValue>,
    }

    #[test]
    fn null_is_told_from_nothing() {
        let data = |text| serde_json::from_str::<Members>(text).unwrap().data.map(RawValue::get);
        assert_eq!((data(r#"{"data":null}"#), data("{}")), (Some("null"), None));
    }
}
