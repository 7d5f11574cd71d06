//! Ports for services that are started for a while.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which Linux takes ports for outgoing connections, so that none of them
/// can take the port before its service does; above the range that the agent gives to instances.
const FIRST: u16 = 30_000;
const COUNT: u16 = 2_700;

/// A loopback address that nobody listens on now, and that this process never gave before.
///
/// # Errors
/// Where the whole range is taken.
pub fn free() -> io::Result<SocketAddr> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Programs that run side by side begin in different places.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("no port from {FIRST} on is free"),
    ))
}
