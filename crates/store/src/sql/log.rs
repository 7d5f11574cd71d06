//! The ledger's tables: sealing events as they are committed, and reading what is sealed.
//!
//! The leaves of events that are committed together are added together ([`Leaves`]), from the
//! bytes that are stored and without reading them back.

use airboss_ledger::{Entry, Frontier, HASH_BYTES, Hash, Record, Texts, Tile};
use futures_util::TryStreamExt as _;

use super::codec::{Columns as _, integer};
use super::db::{Db, Dialect, Pool, Row, Sql};
use super::fault::Fault;
use super::script::Script;
use crate::RecordFilter;

/// Events as [`read_record`] reads them, behind the number that the text goes on with.
macro_rules! select_records {
    ($behind:literal) => {
        concat!(
            "SELECT e.number, e.lane, e.seq, e.rollout, e.at, e.kind, e.message, e.body, i.input,
                i.at AS input_at, d.texts AS removed,
                coalesce((SELECT max(p.number) FROM events AS p
                    WHERE p.lane = e.lane AND p.number < e.number), 0) AS previous
            FROM events AS e LEFT JOIN inputs AS i ON i.lane = e.lane AND i.seq = e.seq
                LEFT JOIN pruned AS d ON d.number = e.number
            WHERE e.number > ",
            $behind
        )
    };
}
pub(super) use select_records;

/// Events that are not sealed, at most [`CHUNK`].
const UNSEALED: &str =
    select_records!("(SELECT size FROM log WHERE \"only\" = 1) ORDER BY e.number LIMIT 4096");
/// Events that are sealed at once.
const CHUNK: usize = 4096;

pub(super) const HEAD: &str = "SELECT size, frontier FROM log WHERE \"only\" = 1";
/// Hashes as one value: to take each as a row costs far more than to read it.
/// SQLite takes them in the order of what it selects from; said in the aggregate, it would sort them again.
const SQLITE_JOINED: &str = "unhex(group_concat(hex(hash), ''))";
const POSTGRES_JOINED: &str = "string_agg(hash, ''::bytea ORDER BY place)";

/// Texts of records that one call returns at most, in bytes; the first record always fits.
const RECORD_BYTES: usize = 8 << 20;

/// Seals every event that is not: those of a database that is older than the ledger.
pub(super) async fn seal(db: &mut Db) -> Result<(), Fault> {
    loop {
        let head = read_head(&Sql::new(HEAD).fetch_one(&mut *db).await?)?;
        let mut leaves = Leaves::behind(head);
        let rows = Sql::new(UNSEALED).fetch_all(&mut *db).await?;
        for row in &rows {
            let record = read_record(row)?;
            if record.number != leaves.size() + 1 {
                return Err(missing(leaves.size() + 1));
            }
            leaves.add(&record.entry())?;
        }
        let mut script = Script::new(db, rows.len());
        leaves.write(&mut script).await?;
        script.finish().await?;
        if rows.len() < CHUNK {
            return Ok(());
        }
    }
}

/// Leaves on their way into the ledger.
pub(super) struct Leaves {
    frontier: Frontier,
    levels: Vec<Level>,
}

/// New hashes of one level of tiles, one behind the other.
struct Level {
    level: u32,
    first: u64,
    hashes: Vec<u8>,
}

impl Leaves {
    /// None yet, behind those of a ledger.
    pub(super) fn behind(frontier: Frontier) -> Self {
        Self {
            frontier,
            levels: Vec::new(),
        }
    }

    /// Leaves of the ledger with these.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Adds the leaf of an event.
    pub(super) fn add(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        let leaf = entry
            .leaf()
            .map_err(|why| Fault::conflict("an event", why.to_string()))?;
        let levels = &mut self.levels;
        self.frontier.append(leaf, |level, place, hash| {
            if level % 8 != 0 {
                return;
            }
            let level = level / 8;
            match levels.iter_mut().find(|it| it.level == level) {
                Some(known) => known.hashes.extend(hash.0),
                None => levels.push(Level {
                    level,
                    first: place,
                    hashes: hash.0.to_vec(),
                }),
            }
        });
        Ok(())
    }

    /// Writes the new hashes and the new head. All hashes of a level are one value, which the
    /// database cuts up.
    pub(super) async fn write(self, script: &mut Script<'_>) -> Result<(), Fault> {
        if self.levels.is_empty() {
            return Ok(());
        }
        let mut head = Sql::begin("UPDATE log SET size = ");
        head.push_bind(integer(self.frontier.size())?)
            .push(", frontier = ")
            .push_bind(self.frontier.to_bytes())
            .push(" WHERE \"only\" = 1");
        script.add(head).await?;
        for level in self.levels {
            let count = (level.hashes.len() / HASH_BYTES) as i64;
            let mut insert = Sql::begin(
                "INSERT INTO log_hashes (level, place, hash) WITH RECURSIVE ours (place) AS (SELECT 0 UNION ALL SELECT place + 1 FROM ours WHERE place + 1 < ",
            );
            insert
                .push_bind(count)
                .push(") SELECT ")
                .push_bind(i64::from(level.level))
                .push(", ")
                .push_bind(integer(level.first)?)
                .push(" + place, substr(")
                .push_bind(level.hashes)
                .push(", place * 32 + 1, 32) FROM ours");
            script.add(insert).await?;
        }
        Ok(())
    }
}

pub(super) async fn head(db: &Pool) -> Result<Frontier, Fault> {
    read_head(&Sql::new(HEAD).fetch_one(db).await?)
}

/// The hashes of each tile, in one trip; fewer than its width where the log is smaller.
pub(super) async fn tiles(db: &Pool, tiles: &[Tile]) -> Result<Vec<Vec<Hash>>, Fault> {
    if tiles.is_empty() {
        return Ok(Vec::new());
    }
    let mut db = db.take().await?;
    let mut query = Sql::begin("SELECT ");
    for (tile, number) in tiles.iter().zip(0_i64..) {
        if number > 0 {
            query.push(" UNION ALL SELECT ");
        }
        query.push_bind(number).push(" AS tile, ");
        let end = tile.first().saturating_add(tile.width.into());
        select_hashes(
            &mut query,
            db.dialect(),
            tile.level.into(),
            tile.first(),
            end,
        )?;
    }
    query.push(" ORDER BY tile");
    let rows = query.fetch_all(&mut db).await?;
    rows.iter().map(read_hashes).collect()
}

/// The hashes of a level from one place up to another, without those that are not there.
pub(super) async fn hashes(
    db: &mut Db,
    level: u32,
    from: u64,
    to: u64,
) -> Result<Vec<Hash>, Fault> {
    let mut query = Sql::begin("SELECT ");
    select_hashes(&mut query, db.dialect(), level, from, to)?;
    read_hashes(&query.fetch_one(db).await?)
}

/// Goes on with what is selected: their number, and all of them behind each other.
fn select_hashes(
    query: &mut Sql,
    dialect: Dialect,
    level: u32,
    from: u64,
    to: u64,
) -> Result<(), Fault> {
    query
        .push("count(*) AS count, ")
        .push(match dialect {
            Dialect::Sqlite => SQLITE_JOINED,
            Dialect::Postgres => POSTGRES_JOINED,
        })
        .push(" AS hashes FROM (SELECT place, hash FROM log_hashes WHERE level = ")
        .push_bind(i64::from(level))
        .push(" AND place >= ")
        .push_bind(integer(from)?)
        .push(" AND place < ")
        .push_bind(integer(to)?)
        .push(" ORDER BY place) AS given");
    Ok(())
}

fn read_hashes(row: &Row) -> Result<Vec<Hash>, Fault> {
    let bytes = row.maybe_bytes("hashes")?.unwrap_or_default();
    match Hash::many(&bytes) {
        Some(hashes) if hashes.len() as u64 == row.count("count")? => Ok(hashes),
        _ => Err(Fault::unreadable(
            "a hash of the ledger has not 32 bytes".into(),
        )),
    }
}

pub(super) async fn records(
    db: &Pool,
    filter: &RecordFilter,
    limit: i64,
) -> Result<Vec<Record>, Fault> {
    let mut query = Sql::begin(select_records!(""));
    query.push_bind(integer(filter.after)?);
    if let Some(lane) = &filter.lane {
        query.push(" AND e.lane = ").push_bind(lane.to_string());
    }
    query.push(" ORDER BY e.number LIMIT ").push_bind(limit);
    let mut db = db.take().await?;
    let mut rows = db.fetch(query);
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let record = read_record(&row)?;
        bytes += record.message.len() + record.body.len() + record.input.len();
        if bytes > RECORD_BYTES && !records.is_empty() {
            break;
        }
        records.push(record);
    }
    Ok(records)
}

pub(super) fn missing(number: u64) -> Fault {
    Fault::unreadable(format!(
        "event {number} is missing, so the log cannot go on"
    ))
}

pub(super) fn read_head(row: &Row) -> Result<Frontier, Fault> {
    let size = row.count("size")?;
    let bytes = row.bytes("frontier")?;
    Frontier::from_bytes(size, &bytes).map_err(|why| Fault::unreadable(why.to_string()))
}

pub(super) fn read_hash(row: &Row) -> Result<Hash, Fault> {
    let bytes = row.bytes("hash")?.try_into();
    bytes
        .map(Hash)
        .map_err(|_| Fault::unreadable("a hash of the ledger has not 32 bytes".into()))
}

/// An event as it is stored. Nothing is parsed, so that what was tampered with can be told too.
pub(super) fn read_record(row: &Row) -> Result<Record, Fault> {
    Ok(Record {
        number: row.count("number")?,
        previous: row.count("previous")?,
        lane: row.text("lane")?,
        seq: row.count("seq")?,
        rollout: row.maybe_text("rollout")?,
        at: row.integer("at")?,
        kind: row.text("kind")?,
        message: row.text("message")?,
        body: row.text("body")?,
        // Where the input is gone its event is not what was sealed, which is told as that.
        input: row.maybe_text("input")?.unwrap_or_default(),
        removed: match row.maybe_bytes("removed")? {
            Some(bytes) => Some(Texts::from_bytes(&bytes).ok_or_else(|| {
                Fault::unreadable("the hashes of removed words have not 96 bytes".into())
            })?),
            None => None,
        },
    })
}
