//! The ledger, read and checked by others than who wrote it.

use airboss_ledger::{Hash, Tile};
use airboss_server::api::log::{LogRetention, RecordList, RecordQuery, RemoveWords};

use super::{Client, ClientError, RETENTION_TIMEOUT};

impl Client {
    /// The log's signed checkpoint.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn log_checkpoint(&self) -> Result<String, ClientError> {
        self.text(self.get("/api/v1/log/checkpoint")).await
    }

    /// The public key that the server says signs its log.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn log_key(&self) -> Result<String, ClientError> {
        self.text(self.get("/api/v1/log/key")).await
    }

    /// The hashes of a tile of the log.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where the log is smaller.
    pub async fn log_tile(&self, tile: Tile) -> Result<Vec<Hash>, ClientError> {
        let path = format!("/api/v1/log/tile/{tile}");
        let bytes = self.bytes(self.get(&path)).await?;
        Hash::many(&bytes)
            .filter(|hashes| hashes.len() == usize::from(tile.width))
            .ok_or_else(|| self.strange(&format!("its tile {tile} has another length")))
    }

    /// Events exactly as they are stored.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn log_records(&self, query: &RecordQuery) -> Result<RecordList, ClientError> {
        self.json(self.get("/api/v1/log/records").query(query))
            .await
    }

    /// What the log keeps, and what retention removes of it next.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn log_retention(&self) -> Result<LogRetention, ClientError> {
        self.json(self.get("/api/v1/log/retention")).await
    }

    /// Removes the words of what is older than the server keeps, now.
    ///
    /// # Errors
    /// As [`ClientError`]; code `kept` where the server keeps everything for ever.
    pub async fn remove_words(&self, request: &RemoveWords) -> Result<LogRetention, ClientError> {
        let send = self.authorised(self.http.post(self.at("/api/v1/log/retention")));
        self.json(send.timeout(RETENTION_TIMEOUT).json(request))
            .await
    }
}
