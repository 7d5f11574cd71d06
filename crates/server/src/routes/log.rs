//! The ledger: checkpoints, tiles, proofs, and the records below them.

use std::collections::BTreeSet;
use std::sync::Arc;

use airboss_ledger::{
    Checkpoint, ProofError, Tile, Tiles, consistency_tiles, encode_entries, inclusion_tiles,
    prove_consistency, prove_inclusion,
};
use airboss_store::RecordFilter;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::log::{
    Consistency, ConsistencyQuery, Inclusion, InclusionQuery, LogRetention, RecordList, RecordQuery,
};
use crate::api::views::Problem;
use crate::problem::{Failure, Result};
use crate::{Here, Site};

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(checkpoint))
        .routes(routes!(key))
        .routes(routes!(inclusion))
        .routes(routes!(consistency))
        .routes(routes!(records))
        .routes(routes!(kept))
}

/// Tiles have paths of many parts, which OpenAPI cannot say; the checkpoint's text tells of them.
pub fn tiles() -> Router<Arc<Site>> {
    Router::new().route("/api/v1/log/tile/{*path}", axum::routing::get(tile))
}

fn text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// The log's size and root, signed now.
///
/// A C2SP checkpoint (`tlog-checkpoint`, Ed25519). The tiles below it are at
/// `/api/v1/log/tile/LEVEL/INDEX` and the entries at `/api/v1/log/tile/entries/INDEX`, with `.p/WIDTH`
/// behind it where partial, as C2SP's `tlog-tiles` names them.
#[utoipa::path(
    get, path = "/api/v1/log/checkpoint", tag = "log",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = Problem))
)]
async fn checkpoint(State(site): Here) -> Result<Response> {
    let head = site.runtime.store().log_head().await?;
    Ok(text(Checkpoint::sign(
        head.size(),
        head.root(),
        &site.log_key,
    )))
}

/// The public key that signs checkpoints, as `name+id+base64`. Compare it with a copy that you
/// have from elsewhere.
#[utoipa::path(
    get, path = "/api/v1/log/key", tag = "log",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
async fn key(State(site): Here) -> Response {
    text(format!("{}\n", site.log_key.verifying_key()))
}

/// Proves that an event is in the log.
#[utoipa::path(
    get, path = "/api/v1/log/inclusion", tag = "log", params(InclusionQuery),
    responses((status = 200, body = Inclusion), (status = 404, body = Problem))
)]
async fn inclusion(
    State(site): Here,
    Query(query): Query<InclusionQuery>,
) -> Result<Json<Inclusion>> {
    let size = size(&site, query.size).await?;
    let index = query
        .number
        .checked_sub(1)
        .ok_or_else(|| Failure::not_found("events are numbered from 1"))?;
    let mut wanted = inclusion_tiles(index, size).map_err(refused)?;
    let leaf = Tile {
        level: 0,
        index: index / 256,
        width: (index % 256) as u16 + 1,
    };
    wanted.insert(leaf);
    let tiles = read(&site, wanted).await?;
    let leaf = tiles
        .get(&leaf)
        .and_then(|it| it.get((index % 256) as usize).copied());
    let leaf = leaf.ok_or_else(|| refused(ProofError::NoEntry { index, size }))?;
    let proof = prove_inclusion(&tiles, index, size).map_err(refused)?;
    Ok(Json(Inclusion {
        number: query.number,
        size,
        leaf,
        proof,
    }))
}

/// Proves that the log only grew since it had a certain size.
#[utoipa::path(
    get, path = "/api/v1/log/consistency", tag = "log", params(ConsistencyQuery),
    responses((status = 200, body = Consistency), (status = 404, body = Problem))
)]
async fn consistency(
    State(site): Here,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Json<Consistency>> {
    let (from, to) = (query.from, size(&site, query.to).await?);
    let tiles = read(&site, consistency_tiles(from, to).map_err(refused)?).await?;
    let proof = prove_consistency(&tiles, from, to).map_err(refused)?;
    Ok(Json(Consistency { from, to, proof }))
}

/// Events exactly as they are stored and sealed, with the inputs of their decisions.
#[utoipa::path(
    get, path = "/api/v1/log/records", tag = "log", params(RecordQuery),
    responses((status = 200, body = RecordList), (status = 422, body = Problem))
)]
async fn records(State(site): Here, Query(query): Query<RecordQuery>) -> Result<Json<RecordList>> {
    let filter = RecordFilter {
        after: super::behind(query.after),
        lane: query.lane.as_deref().map(str::parse).transpose()?,
        limit: query.limit.unwrap_or(500).clamp(1, 5_000),
    };
    let records = site.runtime.store().log_records(&filter).await?;
    Ok(Json(RecordList { records }))
}

/// What the log keeps, how old it is, and what the next run of retention removes of it. The words of
/// events are removed where the server is told so, and never their seals.
#[utoipa::path(
    get, path = "/api/v1/log/retention", tag = "log",
    responses((status = 200, body = LogRetention), (status = 503, body = Problem))
)]
async fn kept(State(site): Here) -> Result<Json<LogRetention>> {
    let (store, now) = (site.runtime.store(), site.runtime.clock().now());
    let report = crate::retention::log::run(&**store, site.keep_record, now, None).await?;
    Ok(Json(report))
}

async fn tile(State(site): Here, Path(path): Path<String>) -> Result<Response> {
    let (tile, is_entries) =
        Tile::parse(&path).map_err(|why| Failure::not_found(why.to_string()))?;
    let store = site.runtime.store();
    let size = store.log_head().await?.size();
    if !tile.fits(size) {
        return Err(Failure::not_found(format!(
            "tile {tile} is not complete: the log has {size} entries"
        )));
    }
    let bytes = if is_entries {
        entries(&site, tile).await?
    } else {
        let hashes = store.log_tile(tile).await?;
        hashes.iter().flat_map(|hash| hash.0).collect()
    };
    Ok((
        [
            (header::CONTENT_TYPE, "application/octet-stream"),
            // What a tile holds never changes.
            (
                header::CACHE_CONTROL,
                "private, max-age=31536000, immutable",
            ),
        ],
        bytes,
    )
        .into_response())
}

/// The entries of a tile of leaves.
async fn entries(site: &Site, tile: Tile) -> Result<Vec<u8>> {
    let mut entries = Vec::with_capacity(tile.width.into());
    while entries.len() < usize::from(tile.width) {
        let filter = RecordFilter {
            after: tile.first() + entries.len() as u64,
            lane: None,
            limit: u32::from(tile.width) - entries.len() as u32,
        };
        let records = site.runtime.store().log_records(&filter).await?;
        if records.is_empty() {
            return Err(damaged("events are missing"));
        }
        for record in records {
            entries.push(
                record
                    .entry()
                    .to_bytes()
                    .map_err(|why| damaged(&why.to_string()))?,
            );
        }
    }
    encode_entries(&entries).map_err(|why| damaged(&why.to_string()))
}

fn damaged(why: &str) -> Failure {
    Failure::new(
        axum::http::StatusCode::INTERNAL_SERVER_ERROR,
        "damaged",
        format!("the log cannot be read: {why}; `airboss doctor` checks the store"),
    )
}

/// The size that was asked for, or the present one; never more than that.
async fn size(site: &Site, asked: Option<u64>) -> Result<u64> {
    let present = site.runtime.store().log_head().await?.size();
    match asked {
        Some(asked) if asked > present => Err(Failure::not_found(format!(
            "the log has {present} entries, not {asked}"
        ))),
        asked => Ok(asked.unwrap_or(present)),
    }
}

async fn read(site: &Site, wanted: BTreeSet<Tile>) -> Result<Tiles> {
    let wanted: Vec<_> = wanted.into_iter().collect();
    let hashes = site.runtime.store().log_tiles(&wanted).await?;
    Ok(wanted.into_iter().zip(hashes).collect())
}

fn refused(error: ProofError) -> Failure {
    match error {
        ProofError::Tile(_) => damaged(&error.to_string()),
        other => Failure::not_found(other.to_string()),
    }
}
