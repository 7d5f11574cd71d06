//! Many rows in few trips to the database.
//!
//! A trip costs more than most statements do, and preparing a statement more than running it. So
//! a statement takes its rows in one of two sizes, the missing ones as NULLs that its `WHERE`
//! leaves out: then there are few texts and all of them stay prepared. A few rows travel as one
//! script; many go in a trip for each statement.

use super::db::{Db, Row, Sql, Value};
use super::fault::Fault;

/// Rows of a statement in a script of few.
const FEW: usize = 4;
/// Rows of a statement where there are many.
pub(super) const MANY: usize = 64;

/// Statements on their way to the database.
pub(super) struct Script<'a> {
    db: &'a mut Db,
    waiting: Vec<Sql>,
    is_small: bool,
    answers: Vec<Row>,
}

impl<'a> Script<'a> {
    /// A script whose statements have `most` rows at most.
    pub(super) fn new(db: &'a mut Db, most: usize) -> Self {
        Self {
            db,
            waiting: Vec::new(),
            is_small: most <= FEW,
            answers: Vec::new(),
        }
    }

    /// Adds a statement.
    pub(super) async fn add(&mut self, sql: Sql) -> Result<(), Fault> {
        self.waiting.push(sql);
        if self.is_small {
            return Ok(());
        }
        self.send().await
    }

    /// Adds `head (VALUES row, row, …) AS given tail` over the rows, in as many statements as it
    /// takes. `tail` leaves out rows whose first column is NULL; so none of a row's may be.
    pub(super) async fn rows<T, const COLUMNS: usize>(
        &mut self,
        head: &str,
        rows: &[T],
        tail: &str,
        values: impl Fn(&T) -> [Value; COLUMNS],
    ) -> Result<(), Fault> {
        let size = if self.is_small { FEW } else { MANY };
        for chunk in rows.chunks(size) {
            let mut sql = Sql::begin(head);
            let mut before = " (VALUES ";
            let mut missing = None;
            for row in chunk {
                let values = values(row);
                if chunk.len() < size && missing.is_none() {
                    missing = Some(values.each_ref().map(Value::missing));
                }
                sql.push(before).push_row(values);
                before = ", ";
            }
            for _ in chunk.len()..size {
                sql.push(before)
                    .push_row(missing.clone().into_iter().flatten());
            }
            sql.push(") AS given ").push(tail);
            self.add(sql).await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Fault> {
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            let rows = self.db.script(waiting).await?;
            self.answers.extend(rows);
        }
        Ok(())
    }

    /// Sends what is left; the rows that all statements returned, in their order.
    pub(super) async fn finish(mut self) -> Result<Vec<Row>, Fault> {
        self.send().await?;
        Ok(self.answers)
    }
}
