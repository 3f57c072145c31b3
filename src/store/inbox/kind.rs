//! What a message is.

use std::fmt;
use std::str::FromStr;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// JSON.
    Json,
    /// Bytes.
    Binary,
    /// A task, or news of one: JSON.
    Task,
    /// A file that came: JSON.
    File,
}

impl Kind {
    /// Every type.
    pub const ALL: [Kind; 5] = [Kind::Text, Kind::Json, Kind::Binary, Kind::Task, Kind::File];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Json => "json",
            Kind::Binary => "binary",
            Kind::Task => "task",
            Kind::File => "file",
        }
    }

    /// Whether its data is JSON.
    pub fn is_json(self) -> bool {
        matches!(self, Kind::Json | Kind::Task | Kind::File)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not one of the types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is of type text, json, binary, task or file")]
pub struct UnknownKind;

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

impl ToSql for Kind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Kind> {
        value.as_str()?.parse().map_err(|error: UnknownKind| FromSqlError::Other(error.into()))
    }
}
