//! The splitter of one lane, behind the few words that the agent needs.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use airboss_model::ArmId;
use airboss_proxy::{InstanceCounts, Options, RoutingTable, Splitter};

use super::ports::holder;

/// Listening sockets that a supervisor of the agent keeps open, by `HOST:PORT`.
pub(super) type Inherited = Mutex<HashMap<String, TcpListener>>;

/// One listening splitter.
pub(super) struct Router {
    pub listen: String,
    splitter: Splitter,
}

impl Router {
    /// Listens, on the inherited socket where there is one. The error says who holds the port.
    pub fn open(listen: &str, inherited: &Inherited, options: Options) -> Result<Self, String> {
        let socket = inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(listen)
            .map(TcpListener::try_clone);
        let splitter = match socket {
            Some(Ok(socket)) => Splitter::from_listener(socket, options),
            _ => Splitter::bind(listen, options),
        };
        let splitter = splitter.map_err(|error| {
            let port = listen.rsplit(':').next().and_then(|port| port.parse().ok());
            match port.and_then(holder) {
                Some(holder) => format!(
                    "{error}; the port is held by {holder}. Stop it, or change `listen`; it is tried again every second"
                ),
                None => format!("{error}; it is tried again every second"),
            }
        })?;
        Ok(Self {
            listen: listen.to_owned(),
            splitter,
        })
    }

    /// Puts a table in force: it holds for every request that starts after this returns.
    pub fn apply(&self, table: RoutingTable) -> Result<(), String> {
        self.splitter
            .apply(table)
            .map_err(|error| format!("the splitter refuses the routing table: {error}"))
    }

    /// What was counted since the last call.
    pub fn take_counts(&self) -> Vec<InstanceCounts> {
        self.splitter.take_counts().instances
    }

    /// Waits until an instance has no request in flight.
    pub async fn instance_drained(&self, arm: &ArmId, instance: &str) {
        self.splitter.instance_drained(arm, instance).await;
    }

    /// Stops listening; requests in flight may finish within `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        self.splitter.shutdown(grace).await;
    }
}
