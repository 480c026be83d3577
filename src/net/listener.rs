//! Listening sockets, and the sockets they accept.

use async_io::Async;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

/// How many connections the kernel keeps for us while we are busy.
const BACKLOG: i32 = 1024;

/// A bound listening socket.
#[derive(Debug)]
pub struct Listener(Async<TcpListener>);

/// An accepted connection, not yet a session's.
#[derive(Debug)]
pub struct Socket {
    pub(super) stream: Async<TcpStream>,
    /// The other side; an IPv4 peer of a dual-stack socket has its IPv4 address.
    pub peer: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
}

impl Listener {
    /// Binds and listens. `[::]` means every address, IPv4 included; a machine without IPv6 listens on `0.0.0.0` then.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        match Self::bind_exactly(address) {
            Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && no_ipv6(&error) => {
                Self::bind_exactly(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
            }
            bound => bound,
        }
    }

    /// Takes over a socket that somebody else bound (socket activation).
    pub(super) fn taken_over(listener: TcpListener) -> io::Result<Self> {
        Ok(Self(Async::new(listener)?))
    }

    /// Where it listens.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Socket> {
        let (stream, peer) = self.0.accept().await?;
        let local = stream.get_ref().local_addr()?;
        stream.get_ref().set_nodelay(true)?;
        rustix::net::sockopt::set_socket_keepalive(stream.get_ref(), true)?;
        Ok(Socket { stream, peer: canonical(peer), local: canonical(local) })
    }

    fn bind_exactly(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(Self(Async::new(listener)?))
    }
}

impl Socket {
    /// Says `words`, if the socket takes them at once, and closes: for connections beyond a ceiling.
    pub fn refuse(self, words: &[u8]) {
        // A peer that does not listen misses its words.
        drop((&mut self.stream.get_ref()).write(words));
        drop(self.stream.get_ref().shutdown(Shutdown::Write));
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || code == Some(rustix::io::Errno::ADDRNOTAVAIL.raw_os_error())
}
