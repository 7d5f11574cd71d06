//! What the verbs that talk to a server share.

use serde::Serialize;

use crate::args::GlobalArgs;
use crate::client::{Client, pretty};
use crate::home::Whereabouts;
use crate::terminal::Console;

/// What the verbs that talk to a server share.
pub struct Context {
    /// Where data folder and server are.
    pub places: Whereabouts,
    /// Where output goes.
    pub console: Console,
}

impl Context {
    /// From the command line and this process's environment.
    ///
    /// # Errors
    /// Where the working folder cannot be told.
    pub fn new(global: GlobalArgs) -> anyhow::Result<Self> {
        Ok(Self {
            places: Whereabouts::from_env(global.server, global.ca)?,
            console: Console::stdout(global.color),
        })
    }

    /// A client of the server.
    ///
    /// # Errors
    /// Where no server is known.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.places.server()?)?)
    }

    /// Prints a value for programs.
    ///
    /// # Errors
    /// Where the output is gone or full.
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        Ok(self.console.text(&pretty(value)?)?)
    }
}
