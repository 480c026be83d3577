//! How many connections there may be, in all and from one address. The table has one row per address that is connected,
//! so it never grows past the ceiling itself.

use event_listener::Event;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections; shared by all listeners.
#[derive(Debug)]
pub(super) struct Ceilings {
    table: Mutex<Table>,
    emptied: Event,
    ended: Event,
}

#[derive(Debug)]
struct Table {
    connections_max: u32,
    per_address_max: u32,
    count: u32,
    by_address: HashMap<IpAddr, u32>,
    accepted: u64,
    refused: u64,
}

/// The right to one connection, until dropped.
#[derive(Debug)]
pub(super) struct Pass {
    ceilings: Arc<Ceilings>,
    address: IpAddr,
}

/// Which ceiling was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The server's.
    Server,
    /// The address's.
    Address,
}

/// What has been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) open: u32,
    pub(super) open_max: u32,
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

impl Ceilings {
    pub(super) fn new(connections_max: u32, per_address_max: u32) -> Arc<Self> {
        let by_address = HashMap::new();
        let table = Table { connections_max, per_address_max, count: 0, by_address, accepted: 0, refused: 0 };
        Arc::new(Self { table: Mutex::new(table), emptied: Event::new(), ended: Event::new() })
    }

    /// Lets a connection from `peer` in, or says which ceiling it would break.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Pass, Full> {
        let address = network(peer);
        let mut table = self.lock();
        let here = table.by_address.get(&address).copied().unwrap_or(0);
        let full = if table.count >= table.connections_max {
            Some(Full::Server)
        } else if here >= table.per_address_max {
            Some(Full::Address)
        } else {
            None
        };
        if let Some(full) = full {
            table.refused = table.refused.saturating_add(1);
            return Err(full);
        }
        table.count += 1;
        table.accepted = table.accepted.saturating_add(1);
        table.by_address.insert(address, here + 1);
        Ok(Pass { ceilings: self.clone(), address })
    }

    /// Changes the ceilings; connections that are there stay.
    pub(super) fn set(&self, connections_max: u32, per_address_max: u32) {
        let mut table = self.lock();
        table.connections_max = connections_max;
        table.per_address_max = per_address_max;
    }

    pub(super) fn counts(&self) -> Counts {
        let table = self.lock();
        Counts { open: table.count, open_max: table.connections_max, accepted: table.accepted, refused: table.refused }
    }

    /// Returns once there is no connection.
    pub(super) async fn empty(&self) {
        loop {
            let emptied = self.emptied.listen();
            if self.lock().count == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Connections that have ended since the start.
    pub(super) fn ended(&self) -> u64 {
        let table = self.lock();
        table.accepted.saturating_sub(u64::from(table.count))
    }

    /// Returns once so many connections have ended since the start.
    pub(super) async fn ended_beyond(&self, count: u64) {
        loop {
            let ended = self.ended.listen();
            if self.ended() >= count {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut table = self.ceilings.lock();
        table.count = table.count.saturating_sub(1);
        let gone = match table.by_address.get_mut(&self.address) {
            Some(count) => {
                *count = count.saturating_sub(1);
                *count == 0
            }
            None => false,
        };
        if gone {
            table.by_address.remove(&self.address);
        }
        self.ceilings.ended.notify(usize::MAX);
        if table.count == 0 {
            table.by_address = HashMap::new();
            self.ceilings.emptied.notify(usize::MAX);
        }
    }
}

/// Who counts as one: an IPv4 address, or an IPv6 /64, which is what one customer has at the least (RFC 6177).
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) if address.is_loopback() => peer,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_ceilings_hold_and_a_connection_that_ends_makes_room() {
        let ceilings = Ceilings::new(3, 2);
        let first = ceilings.admit(ip("192.0.2.1")).unwrap();
        let _second = ceilings.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(ceilings.admit(ip("192.0.2.1")).unwrap_err(), Full::Address);
        let _third = ceilings.admit(ip("192.0.2.2")).unwrap();
        assert_eq!(ceilings.admit(ip("192.0.2.3")).unwrap_err(), Full::Server);
        drop(first);
        let _fourth = ceilings.admit(ip("192.0.2.3")).unwrap();
        let counts = ceilings.counts();
        assert_eq!((counts.open, counts.accepted, counts.refused), (3, 4, 2));
    }

    #[test]
    fn whoever_waits_for_connections_to_end_is_woken_by_the_last_of_so_many() {
        let ceilings = Ceilings::new(10, 10);
        let passes: Vec<_> = (0..3).map(|_| ceilings.admit(ip("192.0.2.1")).unwrap()).collect();
        let mut waiting = Box::pin(ceilings.ended_beyond(2));
        for (pass, is_over) in passes.into_iter().zip([false, true, true]) {
            drop(pass);
            assert_eq!(smol::block_on(smol::future::poll_once(ceilings.ended_beyond(2))).is_some(), is_over);
        }
        assert!(smol::block_on(smol::future::poll_once(&mut waiting)).is_some());
        assert_eq!(ceilings.ended(), 3);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let ceilings = Ceilings::new(10, 1);
        let _first = ceilings.admit(ip("2001:db8::1")).unwrap();
        assert_eq!(ceilings.admit(ip("2001:db8::2:3")).unwrap_err(), Full::Address);
        assert!(ceilings.admit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn a_table_without_connections_is_empty() {
        let ceilings = Ceilings::new(10, 10);
        drop(ceilings.admit(ip("192.0.2.1")).unwrap());
        assert!(ceilings.lock().by_address.is_empty());
        smol::block_on(ceilings.empty());
    }
}
