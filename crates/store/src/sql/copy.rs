//! A whole database into another, of whichever kind, all or nothing.
//!
//! Which tables and columns there are is asked of a fresh database of this program's own schema, so
//! that no list of them can fall behind.

use futures_util::TryStreamExt as _;

use super::codec::Columns as _;
use super::db::{Db, Dialect, Row, Sql, Value};
use super::fault::Fault;
use super::{fresh, lanes};

/// What is asked, for messages.
pub(crate) const WHAT: &str = "the copy";
/// Rows to a statement at most, and bytes of them.
const ROWS: usize = 200;
const BYTES: usize = 1 << 20;
/// Claims in a copy that goes to work begin so far above those of its source, so that no target obeys
/// a controller which still works on the source.
const EPOCHS_AHEAD: i64 = 1_000_000;

const SCHEMA: &str = "SELECT m.name AS name, p.name AS column_name, p.type AS type,
        m.sql LIKE '%AUTOINCREMENT%' AS counts
    FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS p
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'schema_steps'
    ORDER BY m.rowid, p.cid";

/// How far a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The table that is copied.
    pub table: String,
    /// Its rows that were copied by now.
    pub rows: u64,
    /// Whether it is copied whole.
    pub done: bool,
}

/// A table of the schema.
struct Table {
    name: String,
    columns: Vec<Column>,
    /// Whether its first column counts by itself.
    counts: bool,
    /// Rows that it has in a new database.
    initial: u64,
}

struct Column {
    name: String,
    kind: Kind,
}

enum Kind {
    Integer,
    Text,
    Bytes,
}

/// Every table, those that are referred to before those that refer to them.
async fn schema() -> Result<Vec<Table>, Fault> {
    let mut db = fresh().await?;
    let mut tables: Vec<Table> = Vec::new();
    for row in Sql::new(SCHEMA).fetch_all(&mut db).await? {
        let (name, kind) = (row.text("name")?, row.text("type")?);
        let column = Column {
            name: row.text("column_name")?,
            kind: match kind.as_str() {
                "INTEGER" => Kind::Integer,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                other => {
                    return Err(Fault::unreadable(format!(
                        "{name} has a column of type {other}"
                    )));
                }
            },
        };
        match tables.last_mut().filter(|table| table.name == name) {
            Some(table) => table.columns.push(column),
            None => tables.push(Table {
                name,
                columns: vec![column],
                counts: row.integer("counts")? != 0,
                initial: 0,
            }),
        }
    }
    for table in &mut tables {
        table.initial = count(&mut db, &table.name).await?;
    }
    db.close().await?;
    Ok(tables)
}

async fn count(db: &mut Db, table: &str) -> Result<u64, Fault> {
    let sql = Sql::begin(&format!("SELECT count(*) AS rows_here FROM {table}"));
    sql.fetch_one(db).await?.count("rows_here")
}

/// Copies everything. `to_work` says that controllers are to work on the copy from now on, and no
/// longer on its source; else it is a backup. On an error the target's transaction is open and its
/// connection is to be dropped, with which nothing of it remains.
pub(crate) async fn copy(
    from: &mut Db,
    to: &mut Db,
    to_work: bool,
    tell: &mut (dyn FnMut(Copied) + Send),
) -> Result<(), Fault> {
    let tables = schema().await?;
    from.run(from.dialect().begin_reading()).await?;
    to.run(to.dialect().begin()).await?;
    for table in &tables {
        let here = count(to, &table.name).await?;
        if here != table.initial {
            return Err(Fault::conflict(
                WHAT,
                format!(
                    "the target is in use: {} has {here} rows. Copy into a new, empty database",
                    table.name
                ),
            ));
        }
    }
    for table in tables.iter().rev().filter(|table| table.initial > 0) {
        to.run(&format!("DELETE FROM {}", table.name)).await?;
    }
    for table in &tables {
        copy_table(table, from, to, tell).await?;
    }
    if to_work {
        Sql::new("UPDATE lanes SET owner = NULL, owned_until = $1, epoch = epoch + $2")
            .bind(lanes::NOBODY)
            .bind(EPOCHS_AHEAD)
            .execute(&mut *to)
            .await?;
    }
    from.run("COMMIT").await?;
    to.run(to.dialect().commit(true)).await
}

async fn copy_table(
    table: &Table,
    from: &mut Db,
    to: &mut Db,
    tell: &mut (dyn FnMut(Copied) + Send),
) -> Result<(), Fault> {
    let names = table.columns.iter().map(|it| format!("\"{}\"", it.name));
    let names = names.collect::<Vec<_>>().join(", ");
    let mut told = Copied {
        table: table.name.clone(),
        rows: 0,
        done: false,
    };
    let mut rows = from.fetch(Sql::begin(&format!("SELECT {names} FROM {}", table.name)));
    let (mut some, mut bytes) = (Vec::new(), 0);
    loop {
        let row = rows.try_next().await?;
        if let Some(row) = &row {
            let values = read(table, row)?;
            bytes += values.iter().map(Value::size).sum::<usize>();
            some.push(values);
        }
        if some.len() == ROWS || bytes >= BYTES || (row.is_none() && !some.is_empty()) {
            told.rows += some.len() as u64;
            let mut insert = Sql::begin(&format!("INSERT INTO {} ({names}) VALUES ", table.name));
            let mut before = "";
            for values in some.drain(..) {
                insert.push(before).push_row(values);
                before = ", ";
            }
            insert.execute(&mut *to).await?;
            bytes = 0;
            tell(told.clone());
        }
        if row.is_none() {
            break;
        }
    }
    if table.counts && told.rows > 0 && to.dialect() == Dialect::Postgres {
        let (name, counter) = (&table.name, &table.columns[0].name);
        to.run(&format!("SELECT setval(pg_get_serial_sequence('{name}', '{counter}'), (SELECT max({counter}) FROM {name}))")).await?;
    }
    let here = count(to, &table.name).await?;
    if here != told.rows {
        return Err(Fault::unreadable(format!(
            "{} rows of {} were read and {here} are there",
            told.rows, table.name
        )));
    }
    told.done = true;
    tell(told);
    Ok(())
}

fn read(table: &Table, row: &Row) -> Result<Vec<Value>, Fault> {
    let values = table.columns.iter().map(|column| {
        Ok(match column.kind {
            Kind::Integer => Value::MaybeInteger(row.maybe_integer(&column.name)?),
            Kind::Text => Value::Text(row.maybe_text(&column.name)?),
            Kind::Bytes => Value::Bytes(row.bytes(&column.name)?),
        })
    });
    values.collect()
}
