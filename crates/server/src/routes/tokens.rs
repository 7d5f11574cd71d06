//! Tokens: made, listed, revoked.

use std::sync::Arc;

use airboss_model::time::after;
use airboss_model::{Span, Timestamp};
use airboss_store::TokenRow;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Caller, Scope, mint, over, scopes};
use crate::api::tokens::{MadeToken, NewToken, TokenList, TokenView};
use crate::api::views::Problem;
use crate::problem::{Failure, Result};
use crate::{Here, Site};

/// The longest name of a token, in characters.
const NAME_MAX: usize = 100;

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
}

/// Tokens, newest first, without their texts.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "system", responses((status = 200, body = TokenList)))]
async fn list(State(site): Here) -> Result<Json<TokenList>> {
    let now = site.runtime.clock().now();
    let rows = site.runtime.store().tokens(u32::MAX).await?;
    Ok(Json(TokenList {
        tokens: rows.iter().map(|row| view(row, now)).collect(),
    }))
}

/// Makes a token. Its text is in the answer and never told again.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "system", request_body = NewToken,
    responses((status = 201, body = MadeToken), (status = 422, body = Problem))
)]
async fn create(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    Json(request): Json<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>)> {
    let name = request.name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Failure::invalid(format!(
            "`name` must say who holds the token, in 1 to {NAME_MAX} characters"
        )));
    }
    let mut asked: Vec<Scope> = request
        .scopes
        .iter()
        .map(|word| word.parse())
        .collect::<std::result::Result<_, _>>()
        .map_err(|error: crate::access::UnknownScope| Failure::invalid(error.to_string()))?;
    asked.sort_unstable();
    asked.dedup();
    if asked.is_empty() {
        return Err(Failure::invalid(
            "`scopes` is empty: such a token would allow nothing",
        ));
    }
    let now = site.runtime.clock().now();
    let expires_at = end(&request.expires_in, now)?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "unavailable",
            format!("the system has no random numbers: {error}"),
        )
    })?;
    let (secret, hash) = mint(&random);
    let id = uuid::Uuid::now_v7().simple().to_string();
    let words: Vec<_> = asked.iter().map(|scope| scope.as_str()).collect();
    let row = TokenRow {
        // The clock's part says little; the random part tells tokens apart.
        id: format!("t{}", &id[20..]),
        name: name.to_owned(),
        scopes: words.join(" "),
        secret: hash,
        created_by: caller.on_record(&request.by),
        created_at: now,
        expires_at,
        revoked_at: None,
    };
    site.runtime.store().put_token(&row).await?;
    tracing::info!(token = row.id, name = row.name, scopes = row.scopes, by = row.created_by, expires = ?row.expires_at, "a token was made");
    let token = view(&row, now);
    Ok((StatusCode::CREATED, Json(MadeToken { token, secret })))
}

fn end(expires_in: &str, now: Timestamp) -> Result<Option<Timestamp>> {
    if expires_in == "never" {
        return Ok(None);
    }
    let span: Span = expires_in
        .parse()
        .map_err(|error| Failure::invalid(format!("`expires_in`: {error}; or say `never`")))?;
    if span.0.is_zero() {
        return Err(Failure::invalid(
            "`expires_in` is 0: the token would be of no use",
        ));
    }
    Ok(Some(after(now, span.0)))
}

/// Revokes a token for good, from now on.
#[utoipa::path(
    post, path = "/api/v1/tokens/{id}/revoke", tag = "system",
    params(("id" = String, Path, description = "such as `t1f0c9a2b7e61`")),
    responses((status = 200, body = TokenView), (status = 404, body = Problem))
)]
async fn revoke(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<TokenView>> {
    let now = site.runtime.clock().now();
    let by = caller.holder();
    let row = site.runtime.store().revoke_token(&id, &by, now).await?;
    let row = row.ok_or_else(|| {
        Failure::not_found(format!(
            "there is no token {id}; `airboss token list` lists them"
        ))
    })?;
    tracing::info!(
        token = row.id,
        name = row.name,
        ?caller,
        "a token was revoked"
    );
    Ok(Json(view(&row, now)))
}

fn view(row: &TokenRow, now: Timestamp) -> TokenView {
    let state = match over(row, now) {
        None => "valid",
        Some(_) if row.revoked_at.is_some() => "revoked",
        Some(_) => "expired",
    };
    TokenView {
        id: row.id.clone(),
        name: row.name.clone(),
        scopes: scopes(row).iter().map(ToString::to_string).collect(),
        state: state.to_owned(),
        created_by: row.created_by.clone(),
        created_at: row.created_at.to_string(),
        expires_at: row.expires_at.map(|at| at.to_string()),
        revoked_at: row.revoked_at.map(|at| at.to_string()),
    }
}
