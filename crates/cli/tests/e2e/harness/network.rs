//! Hosts with a network between them, as namespaces of this machine's kernel: a cable can be pulled.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long a probe waits for a byte.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hosts, and a namespace with the bridges that join them. All of it goes when this is dropped.
pub struct Network {
    name: String,
    hosts: Vec<String>,
}

fn ip(words: &[&str]) -> Result<(), String> {
    let said = Command::new("ip").args(words).output();
    let said = said.map_err(|error| format!("ip: {error}"))?;
    match said.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&said.stderr).trim()
        )),
    }
}

impl Network {
    /// A network without hosts; why not, where this kernel or user may not have one.
    pub fn new(bridges: &[&str]) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            name: format!("ab{}x{count}", std::process::id()),
            hosts: Vec::new(),
        };
        ip(&["netns", "add", &network.name])?;
        for bridge in bridges {
            let of = ["-n", &network.name, "link"];
            ip(&[&of[..], &["add", bridge, "type", "bridge"]].concat())?;
            ip(&[&of[..], &["set", bridge, "up"]].concat())?;
        }
        Ok(network)
    }

    /// The namespace of a host.
    pub fn host(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// Gives a host, a new one where it is not known, a cable to a bridge.
    pub fn plug(&mut self, host: &str, bridge: &str, address: &str) {
        let space = self.host(host);
        if !self.hosts.contains(&space) {
            ip(&["netns", "add", &space]).unwrap();
            self.hosts.push(space.clone());
            ip(&["-n", &space, "link", "set", "lo", "up"]).unwrap();
        }
        let cable = format!("{host}-{bridge}");
        let peer = ["peer", "name", bridge, "netns", &space];
        let add = ["-n", &self.name, "link", "add", &cable, "type", "veth"];
        ip(&[&add[..], &peer[..]].concat()).unwrap();
        ip(&[
            "-n", &self.name, "link", "set", &cable, "master", bridge, "up",
        ])
        .unwrap();
        let address = format!("{address}/24");
        ip(&["-n", &space, "addr", "add", &address, "dev", bridge]).unwrap();
        ip(&["-n", &space, "link", "set", bridge, "up"]).unwrap();
    }

    /// Pulls a host's cable out of the bridge: nothing passes, and nobody is told.
    pub fn pull(&self, host: &str, bridge: &str) {
        let cable = format!("{host}-{bridge}");
        ip(&["-n", &self.name, "link", "set", &cable, "nomaster"]).unwrap();
    }

    /// Puts it back.
    pub fn put_back(&self, host: &str, bridge: &str) {
        let cable = format!("{host}-{bridge}");
        ip(&["-n", &self.name, "link", "set", &cable, "master", bridge]).unwrap();
    }

    /// The version that answers to who asks on this host.
    pub fn version(&self, host: &str, address: SocketAddr) -> Option<String> {
        let space = File::open(format!("/run/netns/{}", self.host(host))).unwrap();
        // A thread of its own, which ends in the namespace that it went to.
        let asking = std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(space.as_fd(), kind).unwrap();
            ask(address).ok()
        });
        let text = asking.join().unwrap()?;
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix("x-checkout-version: "))?;
        Some(line.trim().to_owned())
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /checkout HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in self.hosts.iter().chain([&self.name]) {
            // One that is gone already is fine.
            let _ = ip(&["netns", "del", space]);
        }
    }
}
