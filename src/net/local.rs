//! The socket in the file system that a machine's own programs talk to a server over: lines, bounded, owner only.

use async_io::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A longer path does not fit into a socket's address (sun_path has 108 octets).
const PATH_BYTES_MAX: usize = 100;

/// A listening local socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct LocalListener {
    listener: Async<UnixListener>,
    path: PathBuf,
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct LocalStream {
    stream: Async<UnixStream>,
    input: Vec<u8>,
}

/// The asking program's end of a connection; blocks.
#[derive(Debug)]
pub struct LocalClient(BufReader<UnixStream>);

impl LocalListener {
    /// Listens at `path`, for this user alone. A socket left there by a server that was killed is replaced, so the caller
    /// must know that no other server runs.
    pub fn bind(path: &Path) -> io::Result<Self> {
        // Made under another name: nobody can connect before the permissions are right.
        let made = path.with_extension("new");
        match fs::remove_file(&made) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = short(&made, |made| UnixListener::bind(made))?;
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        fs::rename(&made, path)?;
        Ok(Self { listener: Async::new(listener)?, path: path.to_owned() })
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<LocalStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(LocalStream { stream, input: Vec::new() })
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // The next server would replace it just as well.
        drop(fs::remove_file(&self.path));
    }
}

impl LocalStream {
    /// The next line without its end; `None` at the end of the connection or when a line is longer than `bytes_max`.
    pub async fn line(&mut self, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let rest = self.input.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.input, rest);
                line.pop();
                return Ok(Some(line));
            }
            if self.input.len() > bytes_max {
                return Ok(None);
            }
            let mut part = [0; 4096];
            let count = self.stream.read(&mut part).await?;
            if count == 0 {
                return Ok(None);
            }
            self.input.extend_from_slice(part.get(..count).unwrap_or_default());
        }
    }

    /// Writes a line; `text` holds no LF.
    pub async fn write_line(&mut self, text: &[u8]) -> io::Result<()> {
        self.stream.write_all(text).await?;
        self.stream.write_all(b"\n").await
    }
}

impl LocalClient {
    /// Connects; the error is `NotFound` or `ConnectionRefused` when no server listens. No answer within `limit` is an
    /// error later.
    pub fn connect(path: &Path, limit: Duration) -> io::Result<Self> {
        let stream = short(path, |path| UnixStream::connect(path))?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a line and reads the line that answers it, of at most `bytes_max` octets.
    pub fn ask(&mut self, text: &[u8], bytes_max: u64) -> io::Result<Vec<u8>> {
        let stream = self.0.get_mut();
        stream.write_all(text)?;
        stream.write_all(b"\n")?;
        self.line(bytes_max)
    }

    /// Reads a further line of at most `bytes_max` octets.
    pub fn line(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.0).take(bytes_max).read_until(b'\n', &mut line)?;
        if line.pop() == Some(b'\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Does `work` with a path that fits into a socket's address: a long one goes through its folder's descriptor.
fn short<T>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return work(path);
    };
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return work(path);
    }
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::PATH;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let folder: File = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    work(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_both_ways_also_where_the_path_is_long_and_a_stale_socket_lies() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(120));
        fs::create_dir(&deep).unwrap();
        for folder in [folder.path(), &deep] {
            let path = folder.join("control.sock");
            let stale = short(&path, |path| UnixListener::bind(path)).unwrap();
            drop(stale);
            let error = LocalClient::connect(&path, Duration::from_secs(5)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

            let listener = LocalListener::bind(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let asking = std::thread::spawn({
                let path = path.clone();
                move || LocalClient::connect(&path, Duration::from_secs(5)).unwrap().ask(b"one", 100).unwrap()
            });
            smol::block_on(async {
                let mut stream = listener.accept().await.unwrap();
                assert_eq!(stream.line(100).await.unwrap().unwrap(), b"one");
                stream.write_line(b"two").await.unwrap();
            });
            assert_eq!(asking.join().unwrap(), b"two");
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_line_without_end_ends_the_connection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = LocalListener::bind(&path).unwrap();
        let asking = std::thread::spawn({
            let path = path.clone();
            move || LocalClient::connect(&path, Duration::from_secs(5)).unwrap().ask(&[b'x'; 5_000], 100)
        });
        smol::block_on(async {
            let mut stream = listener.accept().await.unwrap();
            assert_eq!(stream.line(1_000).await.unwrap(), None);
        });
        assert!(asking.join().unwrap().is_err());
    }
}
