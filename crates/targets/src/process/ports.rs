//! Ports for instances, and who holds a port that is taken.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// Hands out free loopback ports, each to one instance at a time.
///
/// The range lies below the one from which Linux takes ports for outgoing connections, so that
/// a port that is free now cannot become the near end of somebody's connection before the
/// instance listens on it.
#[derive(Debug)]
pub(super) struct Ports {
    range: RangeInclusive<u16>,
    /// Makes two agents on one host look in different places first.
    salt: u64,
    given: Mutex<BTreeSet<u16>>,
}

impl Ports {
    pub fn new(range: RangeInclusive<u16>, salt: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        Self {
            range,
            salt: hasher.finish(),
            given: Mutex::default(),
        }
    }

    /// A port on which nobody listens now; another `attempt` looks elsewhere first. None where the whole range is taken.
    pub fn take(&self, instance: &str, attempt: u32) -> Option<u16> {
        let size = u64::from(self.range.end().saturating_sub(*self.range.start())) + 1;
        let mut hasher = DefaultHasher::new();
        (self.salt, instance, attempt).hash(&mut hasher);
        let first = hasher.finish() % size;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let port = (0..size)
            .filter_map(|step| u16::try_from((first + step) % size).ok())
            .map(|offset| self.range.start() + offset)
            .find(|port| !given.contains(port) && free(*port))?;
        given.insert(port);
        Some(port)
    }

    /// Notes that an instance has this port already.
    pub fn keep(&self, port: u16) {
        self.given
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port);
    }

    /// Gives a port back.
    pub fn release(&self, port: u16) {
        self.given
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&port);
    }
}

/// True where nobody listens on the loopback port now.
pub(super) fn free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The process that listens on a TCP port of this host, as `nginx (process 812)`, where /proc
/// tells: it does for processes of the same user, and for all where we are root.
pub(super) fn holder(port: u16) -> Option<String> {
    let wanted = format!(":{port:04X}");
    let mut sockets = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            // Fields of proc(5): local address, remote address, state (0A: listening), …, inode.
            if let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..]
                && local.ends_with(&wanted)
            {
                sockets.insert(format!("socket:[{inode}]"));
            }
        }
    }
    if sockets.is_empty() {
        return None;
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = files.flatten().any(|file| {
            fs::read_link(file.path())
                .is_ok_and(|target| sockets.contains(target.to_string_lossy().as_ref()))
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}
