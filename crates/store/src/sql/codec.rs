//! How values become columns and come back.

use std::fmt::Display;
use std::str::FromStr;

use airboss_model::Timestamp;
use serde_json::Value;
use sqlx::Row as _;

use super::db::Row;

use super::fault::Fault;

/// Microseconds since 1970; what is finer is cut off.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A count as the database's signed integer.
pub(super) fn integer(count: u64) -> Result<i64, Fault> {
    i64::try_from(count)
        .map_err(|_| Fault::conflict("a number", format!("{count} is more than 2^63 - 1")))
}

/// A limit: `given`, or `default` where it is 0, and never more than `most`.
pub(super) fn limit(given: u32, default: u32, most: u32) -> i64 {
    i64::from(if given == 0 { default } else { given.min(most) })
}

/// Reads columns by name. What cannot be read is damage, named by its column.
pub(super) trait Columns {
    /// A text.
    fn text(&self, column: &str) -> Result<String, Fault>;
    /// A text that may be missing.
    fn maybe_text(&self, column: &str) -> Result<Option<String>, Fault>;
    /// An integer that may be missing.
    fn maybe_integer(&self, column: &str) -> Result<Option<i64>, Fault>;
    /// Bytes that may be missing.
    fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Fault>;
    /// Bytes.
    fn bytes(&self, column: &str) -> Result<Vec<u8>, Fault> {
        self.maybe_bytes(column)?
            .ok_or_else(|| unreadable(column, "it is missing"))
    }

    /// An integer.
    fn integer(&self, column: &str) -> Result<i64, Fault> {
        self.maybe_integer(column)?
            .ok_or_else(|| unreadable(column, "it is missing"))
    }
    /// An integer that is a count.
    fn count(&self, column: &str) -> Result<u64, Fault> {
        u64::try_from(self.integer(column)?).map_err(|why| unreadable(column, why))
    }
    /// A point in time.
    fn time(&self, column: &str) -> Result<Timestamp, Fault> {
        Timestamp::from_microsecond(self.integer(column)?).map_err(|why| unreadable(column, why))
    }
    /// A point in time that may be missing.
    fn maybe_time(&self, column: &str) -> Result<Option<Timestamp>, Fault> {
        match self.maybe_integer(column)? {
            None => Ok(None),
            Some(at) => Timestamp::from_microsecond(at)
                .map(Some)
                .map_err(|why| unreadable(column, why)),
        }
    }
    /// An id of the model's.
    fn id<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, Fault> {
        self.text(column)?
            .parse()
            .map_err(|why| unreadable(column, why))
    }
    /// An id of the model's that may be missing.
    fn maybe_id<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, Fault> {
        self.maybe_text(column)?
            .map(|text| text.parse().map_err(|why| unreadable(column, why)))
            .transpose()
    }
    /// A JSON text.
    fn json(&self, column: &str) -> Result<Value, Fault> {
        serde_json::from_str(&self.text(column)?).map_err(|why| unreadable(column, why))
    }
    /// A JSON text that may be missing.
    fn maybe_json(&self, column: &str) -> Result<Option<Value>, Fault> {
        self.maybe_text(column)?
            .map(|text| serde_json::from_str(&text).map_err(|why| unreadable(column, why)))
            .transpose()
    }
}

impl Columns for Row {
    fn text(&self, column: &str) -> Result<String, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }?)
    }
    fn maybe_text(&self, column: &str) -> Result<Option<String>, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }?)
    }
    fn maybe_integer(&self, column: &str) -> Result<Option<i64>, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }?)
    }
    fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }?)
    }
}

fn unreadable(column: &str, why: impl Display) -> Fault {
    Fault::unreadable(format!(
        "a value in column `{column}` cannot be read: {why}"
    ))
}
