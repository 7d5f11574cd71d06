//! One of the controllers that the agent knows: what it was told and what it was heard to want.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::client::Client;
use super::protocol::ReportAck;
use super::report::Reports;

/// Log requests that are remembered as answered.
const ANSWERED: usize = 1024;

pub(super) struct Link {
    pub client: Client,
    pub reports: Reports,
    /// Version and incarnation of the newest desired set.
    pub seen: Option<(u64, String)>,
    /// Has the question for news asked again at once.
    pub poke: Arc<Notify>,
    pub answered_logs: VecDeque<String>,
    behind: u32,
}

impl Link {
    pub fn new(client: Client, reports: Reports) -> Self {
        Self {
            client,
            reports,
            seen: None,
            poke: Arc::default(),
            answered_logs: VecDeque::new(),
            behind: 0,
        }
    }

    /// The open report was counted; the answer tells whether a desired set was missed.
    pub fn acknowledged(&mut self, ack: &ReportAck) {
        self.reports.acknowledged();
        let current = self.seen.as_ref().is_some_and(|(version, incarnation)| {
            ack.incarnation == *incarnation && ack.version <= *version
        });
        self.behind = if current { 0 } else { self.behind + 1 };
        // Twice in a row: the answer to the open question is not just under way.
        if self.behind >= 2 {
            self.behind = 0;
            self.poke.notify_one();
        }
    }

    /// Remembers a request for logs, so that it is answered once.
    pub fn answers_logs(&mut self, id: &str) {
        if self.answered_logs.len() >= ANSWERED {
            self.answered_logs.pop_front();
        }
        self.answered_logs.push_back(id.to_owned());
    }
}
