//! Sockets that were bound before this process started and handed to it (socket activation, sd_listen_fds(3)): systemd
//! binds the low ports, and the server needs no privilege. Taken once; never binds anything itself.

use super::Listener;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A socket that was handed over, with the name its giver calls it (FileDescriptorName=).
#[derive(Debug)]
pub struct Inherited {
    /// Its name.
    pub name: String,
    /// The socket; an error says why it cannot be listened on.
    pub listener: io::Result<Listener>,
}

static ARE_TAKEN: AtomicBool = AtomicBool::new(false);

/// What was handed over. A second call has nothing.
pub fn inherited() -> io::Result<Vec<Inherited>> {
    if ARE_TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    // Looks whether they are meant for this very process, and keeps them from its children.
    let handed_over = sd_notify::listen_fds_with_names()?;
    let take = |(number, name): (i32, String)| {
        #[expect(
            unsafe_code,
            reason = "the number was given to us with an open descriptor, and is taken here alone, once"
        )]
        // SAFETY: LISTEN_PID and LISTEN_FDS say that the descriptor is ours; ARE_TAKEN that nobody else made it its own.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        Inherited { name, listener: listening(socket) }
    };
    Ok(handed_over.map(take).collect())
}

/// The socket, if it is one that accepts TCP connections.
fn listening(socket: OwnedFd) -> io::Result<Listener> {
    let is_internet = [AddressFamily::INET, AddressFamily::INET6].contains(&socket_domain(&socket)?);
    if !is_internet || socket_type(&socket)? != SocketType::STREAM || !socket_acceptconn(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no listening TCP socket"));
    }
    Listener::taken_over(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_what_accepts_tcp_connections_is_taken() {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        assert_eq!(listening(tcp.into()).unwrap().local().unwrap(), address);

        let folder = tempfile::tempdir().unwrap();
        let others: [OwnedFd; 3] = [
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(),
            UnixListener::bind(folder.path().join("socket")).unwrap().into(),
            File::open("/dev/null").unwrap().into(),
        ];
        for other in others {
            listening(other).unwrap_err();
        }
    }
}
