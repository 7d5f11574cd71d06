//! What can go wrong below the trait, and how it is told to callers.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use crate::StoreError;

/// Why one operation did not happen.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The rules forbid it; the database is fine.
    Refused(StoreError),
    /// The database could not do it.
    Broken(Broken),
}

/// Why the database could not do something. One failure may have to be told to many callers.
#[derive(Debug, Clone)]
pub(crate) enum Broken {
    /// The database or the driver said so.
    Sql(Arc<sqlx::Error>),
    /// A row does not hold what was once written.
    Unreadable(String),
}

impl Fault {
    pub(crate) fn conflict(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused(StoreError::Conflict {
            what,
            detail: detail.into(),
        })
    }
    pub(crate) fn unreadable(detail: String) -> Self {
        Self::Broken(Broken::Unreadable(detail))
    }
}

impl Fault {
    /// As what breaks a whole transaction.
    pub(crate) fn into_broken(self) -> Broken {
        match self {
            Self::Broken(broken) => broken,
            Self::Refused(error) => Broken::Unreadable(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::unreadable(error.to_string()),
            error => Self::Broken(Broken::Sql(Arc::new(error))),
        }
    }
}

impl Broken {
    /// The database did not answer within a time.
    pub(crate) fn silent(within: Duration) -> Self {
        let error = std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer within {within:?}"),
        );
        Self::Sql(Arc::new(sqlx::Error::Io(error)))
    }
    /// SQLite's primary result code, where SQLite spoke.
    pub(crate) fn primary(&self) -> Option<i32> {
        let Self::Sql(error) = self else { return None };
        let error = error.as_database_error()?;
        error.try_downcast_ref::<SqliteError>()?;
        let extended: i32 = error.code()?.parse().ok()?;
        Some(extended & 0xff)
    }
    /// PostgreSQL's SQLSTATE, where PostgreSQL spoke.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        let Self::Sql(error) = self else { return None };
        let error = error.as_database_error()?;
        Some(error.try_downcast_ref::<PgDatabaseError>()?.code())
    }
    /// Whether a rule of the schema (a key, a reference) was broken; the database is fine.
    pub(crate) fn is_constraint(&self) -> bool {
        self.primary() == Some(19) || self.sqlstate().is_some_and(|it| it.starts_with("23"))
    }
    /// Whether the connection is of no use any more: broken, ended by the server, or to a server
    /// that takes no writes (a standby).
    pub(crate) fn is_lost(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        match self.sqlstate() {
            Some("25006" | "25P03") => true,
            Some(state) => state.starts_with("08") || state.starts_with("57P"),
            None => error.as_database_error().is_none(),
        }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(f),
            Self::Unreadable(detail) => f.write_str(detail),
        }
    }
}

/// How a database tells callers what went wrong.
pub(crate) trait Explain: Send + Sync {
    /// What callers are told when the database could not do something.
    fn explain_broken(&self, what: &'static str, broken: &Broken) -> StoreError;

    /// What callers are told.
    fn explain(&self, what: &'static str, fault: Fault) -> StoreError {
        match fault {
            Fault::Refused(error) => error,
            Fault::Broken(broken) => self.explain_broken(what, &broken),
        }
    }
}
