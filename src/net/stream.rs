//! The bytes under a [`super::Wire`]: a socket or a pipe, plain or under TLS.

use super::pipe::PipeEnd;
use async_io::Async;
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use smol::io::{AsyncRead, AsyncWrite};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// TLS bytes that wait to be written, per connection (rustls' own default is 64 KiB).
const TLS_BUFFER_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) enum Stream {
    Plain(Transport),
    Tls(Box<TlsStream<Transport>>),
}

#[derive(Debug)]
pub(super) enum Transport {
    Tcp(Async<TcpStream>),
    Pipe(PipeEnd),
    /// What is left where a stream was taken out.
    Gone,
}

impl Stream {
    /// Does the server's side of a TLS handshake. Fails on a stream that is under TLS already.
    pub(super) async fn accept_tls(self, config: Arc<rustls::ServerConfig>) -> io::Result<Self> {
        let Self::Plain(transport) = self else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        let accept =
            TlsAcceptor::from(config).accept_with(transport, |tls| tls.set_buffer_limit(Some(TLS_BUFFER_BYTES_MAX)));
        Ok(Self::Tls(Box::new(accept.await?)))
    }
}

impl Stream {
    /// Acknowledges what the peer has sent, without the kernel's usual delay.
    pub(super) fn acknowledge(&self) {
        let transport = match self {
            Self::Plain(transport) => transport,
            Self::Tls(tls) => tls.get_ref().0,
        };
        if let Transport::Tcp(stream) = transport {
            // Only a hint: without it the peer waits some milliseconds.
            let _ = rustix::net::sockopt::set_tcp_quickack(stream.get_ref(), true);
        }
    }
}

macro_rules! forward {
    ($self:ident, $type:ident { $($variant:ident),+ }, $stream:ident => $call:expr, gone $gone:expr) => {
        match $self.get_mut() {
            $($type::$variant($stream) => $call,)+
            #[allow(unreachable_patterns, reason = "Stream has no such state, Transport has")]
            _ => $gone,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        forward!(self, Stream { Plain, Tls }, stream => Pin::new(stream).poll_read(cx, buf), gone Poll::Ready(Ok(0)))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, Stream { Plain, Tls }, stream => Pin::new(stream).poll_write(cx, buf), gone Poll::Ready(Ok(0)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, Stream { Plain, Tls }, stream => Pin::new(stream).poll_flush(cx), gone Poll::Ready(Ok(())))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, Stream { Plain, Tls }, stream => Pin::new(stream).poll_close(cx), gone Poll::Ready(Ok(())))
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        forward!(self, Transport { Tcp, Pipe }, stream => Pin::new(stream).poll_read(cx, buf), gone Poll::Ready(Ok(0)))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, Transport { Tcp, Pipe }, stream => Pin::new(stream).poll_write(cx, buf), gone Poll::Ready(Ok(0)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, Transport { Tcp, Pipe }, stream => Pin::new(stream).poll_flush(cx), gone Poll::Ready(Ok(())))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Async's own close only flushes; the peer is to see the end now, not when the socket is dropped.
            Self::Tcp(stream) => Poll::Ready(stream.get_ref().shutdown(Shutdown::Write)),
            Self::Pipe(stream) => Pin::new(stream).poll_close(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}
