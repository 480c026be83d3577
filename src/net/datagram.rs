//! Datagrams, for what an image for a board does beside mail: a question to one server, and the group of multicast DNS.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The groups of multicast DNS (RFC 6762 section 3).
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Their port.
const PORT: u16 = 5353;

/// Sends `question` and reads what that server answers into `answer`; answers its length. Blocks for at most `limit`.
pub fn ask_once(server: SocketAddr, question: &[u8], limit: Duration, answer: &mut [u8]) -> io::Result<usize> {
    let any =
        if server.is_ipv4() { SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    // From here on nobody else's datagrams come in.
    socket.connect(server)?;
    socket.set_read_timeout(Some(limit))?;
    socket.send(question)?;
    socket.recv(answer)
}

/// The sockets of multicast DNS, one for each kind of address that the machine has.
#[derive(Debug)]
pub struct MulticastDns {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl MulticastDns {
    /// Opens them beside those of other programs. An error when neither can be.
    pub fn open() -> io::Result<Self> {
        let v4 = open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
        let v6 = open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)));
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok(Self { v4: v4.ok(), v6: v6.ok() }),
        }
    }

    /// Hears the groups on this interface from now on. One that is heard already, or cannot be, is passed over.
    pub fn join(&self, interface: u32) {
        if let Some(socket) = &self.v4 {
            let joined =
                sockopt::set_ip_add_membership_with_ifindex(socket, &GROUP_V4, &Ipv4Addr::UNSPECIFIED, interface);
            joined.unwrap_or_default();
        }
        if let Some(socket) = &self.v6 {
            sockopt::set_ipv6_add_membership(socket, &GROUP_V6, interface).unwrap_or_default();
        }
    }

    /// Waits for a datagram, at most `limit`. Blocks.
    pub fn receive(&self, octets: &mut [u8], limit: Duration) -> io::Result<Option<(usize, SocketAddr)>> {
        let sockets: Vec<&UdpSocket> = [&self.v4, &self.v6].into_iter().flatten().collect();
        let mut waits: Vec<PollFd<'_>> = sockets.iter().map(|socket| PollFd::new(*socket, PollFlags::IN)).collect();
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        poll(&mut waits, Some(&limit))?;
        let ready: Vec<bool> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
        for (socket, is_ready) in sockets.into_iter().zip(ready) {
            if is_ready {
                return match socket.recv_from(octets) {
                    Ok(received) => Ok(Some(received)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                    Err(error) => Err(error),
                };
            }
        }
        Ok(None)
    }

    /// Sends to one machine.
    pub fn send(&self, octets: &[u8], to: SocketAddr) -> io::Result<()> {
        match if to.is_ipv4() { &self.v4 } else { &self.v6 } {
            Some(socket) => socket.send_to(octets, to).map(drop),
            None => Ok(()),
        }
    }

    /// Sends to the groups on this interface. An error when neither takes it.
    pub fn send_to_all(&self, octets: &[u8], interface: u32) -> io::Result<()> {
        let v4 = self.v4.as_ref().map(|socket| {
            sockopt::set_ip_multicast_if_with_ifindex(socket, &GROUP_V4, &Ipv4Addr::UNSPECIFIED, interface)?;
            socket.send_to(octets, (GROUP_V4, PORT))
        });
        let v6 = self.v6.as_ref().map(|socket| {
            sockopt::set_ipv6_multicast_if(socket, interface)?;
            socket.send_to(octets, (GROUP_V6, PORT))
        });
        match (v4, v6) {
            (Some(Ok(_)), _) | (_, Some(Ok(_))) | (None, None) => Ok(()),
            (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error),
        }
    }
}

/// A socket that shares its port (RFC 6762 section 15) and whose datagrams have come over no router (section 11).
fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv4() {
        sockopt::set_ip_multicast_ttl(&socket, 255)?;
        sockopt::set_ip_ttl(&socket, 255)?;
    } else {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_multicast_hops(&socket, 255)?;
        sockopt::set_ipv6_unicast_hops(&socket, Some(255))?;
    }
    bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}
