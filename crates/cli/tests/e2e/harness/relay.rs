//! The network between a controller and its database: it can be cut, and lead elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

/// Where connections lead.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// To the server whose socket is in this folder.
    To(String),
    /// Nowhere: nothing passes and nobody is told, as when a cable is cut.
    Cut,
}

/// Takes connections on a loopback port and passes them on.
pub struct Relay {
    pub address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Relay {
    pub async fn to(folder: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (way, watched) = watch::channel(Way::To(folder.to_owned()));
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut watched = watched.clone();
                tokio::spawn(async move {
                    let Way::To(folder) = watched.borrow_and_update().clone() else {
                        // Held open and silent until the way changes.
                        let _ = watched.changed().await;
                        return;
                    };
                    let socket = PathBuf::from(folder).join(".s.PGSQL.5432");
                    let Ok(mut server) = UnixStream::connect(socket).await else {
                        return;
                    };
                    let cut = tokio::select! {
                        _ = copy_bidirectional(&mut stream, &mut server) => false,
                        changed = watched.changed() => changed.is_ok() && *watched.borrow() == Way::Cut,
                    };
                    if cut {
                        let _ = watched.changed().await;
                    }
                });
            }
        });
        Self { address, way }
    }

    pub fn lead(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// The address of the database through here.
    pub fn url(&self) -> String {
        format!(
            "postgres://airboss@{}/airboss?sslmode=disable",
            self.address
        )
    }
}
