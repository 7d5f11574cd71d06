//! Durable state: the Store trait and SQLite behind it.
