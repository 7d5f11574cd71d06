//! Hints that another controller wrote something. They may be missing; whoever follows them looks
//! by itself now and then.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;

use crate::sql::connect::CONNECT_WITHIN;

/// Wait before a listener that broke is made anew.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Counts hints until nobody follows them any more.
pub(super) async fn listen(options: PgConnectOptions, hint: watch::Sender<u64>) {
    let mut told = false;
    loop {
        let broke = tokio::select! {
            broke = follow(&options, &hint) => broke,
            () = hint.closed() => return,
        };
        if !told {
            tracing::warn!(error = %broke, "no hints from the database; controllers look by themselves until they come again");
        }
        told = true;
        tokio::select! {
            () = tokio::time::sleep(AGAIN_AFTER) => {}
            () = hint.closed() => return,
        }
    }
}

/// Only ends by an error.
async fn follow(options: &PgConnectOptions, hint: &watch::Sender<u64>) -> sqlx::Error {
    // A pool of its own: the listener keeps its connection for as long as it lives.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_WITHIN)
        .connect_lazy_with(options.clone());
    let listening = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen("airboss").await?;
        loop {
            // What was missed while nobody listened may be news as well.
            hint.send_modify(|count| *count += 1);
            if listener.try_recv().await?.is_none() {
                return Err(sqlx::Error::PoolClosed);
            }
        }
    };
    let ended: Result<(), sqlx::Error> = listening.await;
    ended.err().unwrap_or(sqlx::Error::PoolClosed)
}
