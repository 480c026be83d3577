//! A connection in memory: two ends, each reads what the other wrote. Whole sessions run over it in tests.

use smol::io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// One end of a connection in memory. Dropping it closes both directions.
#[derive(Debug)]
pub struct PipeEnd {
    read: Arc<Mutex<Flow>>,
    write: Arc<Mutex<Flow>>,
}

#[derive(Debug)]
struct Flow {
    bytes: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends; each direction holds at most `capacity` bytes, as a socket's buffer would.
pub fn pipe(capacity: usize) -> (PipeEnd, PipeEnd) {
    let flow = || {
        let flow =
            Flow { bytes: VecDeque::new(), capacity: capacity.max(1), closed: false, reader: None, writer: None };
        Arc::new(Mutex::new(flow))
    };
    let (here, there) = (flow(), flow());
    (PipeEnd { read: here.clone(), write: there.clone() }, PipeEnd { read: there, write: here })
}

impl AsyncRead for PipeEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut flow = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if flow.bytes.is_empty() {
            if flow.closed {
                return Poll::Ready(Ok(0));
            }
            flow.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = buf.len().min(flow.bytes.len());
        for (to, from) in buf.iter_mut().zip(flow.bytes.drain(..count)) {
            *to = from;
        }
        wake(&mut flow.writer);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for PipeEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut flow = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        if flow.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = buf.len().min(flow.capacity - flow.bytes.len());
        if count == 0 && !buf.is_empty() {
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        flow.bytes.extend(buf.iter().take(count));
        wake(&mut flow.reader);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        close(&self.write);
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        close(&self.read);
        close(&self.write);
    }
}

fn close(flow: &Mutex<Flow>) {
    let mut flow = flow.lock().unwrap_or_else(PoisonError::into_inner);
    flow.closed = true;
    wake(&mut flow.reader);
    wake(&mut flow.writer);
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
