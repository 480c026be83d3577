//! The socket in the file system that a machine's own programs talk to a server over: lines and frames, bounded, owner
//! only. A frame is its kind (one octet), its length (four, the highest first) and so many octets.

use async_io::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest frame.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// A frame's kind and length.
const FRAME_HEAD_BYTES: usize = 5;
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

    /// Reads a frame into `to`, in place of what is there; its kind. `None` at the end of the connection or when the frame is
    /// longer than [`FRAME_BYTES_MAX`].
    pub async fn frame(&mut self, to: &mut Vec<u8>) -> io::Result<Option<u8>> {
        let mut head = [0; FRAME_HEAD_BYTES];
        match self.exactly(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let Some((kind, length)) = frame_head(head) else {
            return Ok(None);
        };
        to.clear();
        to.resize(length, 0);
        self.exactly(to).await?;
        Ok(Some(kind))
    }

    async fn exactly(&mut self, to: &mut [u8]) -> io::Result<()> {
        let here = self.input.len().min(to.len());
        let (now, later) = to.split_at_mut(here);
        for (to, octet) in now.iter_mut().zip(self.input.drain(..here)) {
            *to = octet;
        }
        self.stream.read_exact(later).await
    }

    /// Writes a frame of at most [`FRAME_BYTES_MAX`] octets.
    pub async fn write_frame(&mut self, kind: u8, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(&head_of_frame(kind, octets)?).await?;
        self.stream.write_all(octets).await
    }

    /// Both ends of a connection within this process.
    pub fn pair(limit: Duration) -> io::Result<(Self, LocalClient)> {
        let (ours, theirs) = UnixStream::pair()?;
        theirs.set_read_timeout(Some(limit))?;
        theirs.set_write_timeout(Some(limit))?;
        Ok((Self { stream: Async::new(ours)?, input: Vec::new() }, LocalClient(BufReader::new(theirs))))
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

impl LocalClient {
    /// Gathers what [`LocalClient::put_frame`] is given into fewer writes.
    pub fn writer(&self) -> io::Result<BufWriter<UnixStream>> {
        Ok(BufWriter::with_capacity(FRAME_BYTES_MAX, self.0.get_ref().try_clone()?))
    }

    /// Ends the connection, for writers of it as well.
    pub fn close(&self) {
        // Where it has ended already, that is as good.
        drop(self.0.get_ref().shutdown(std::net::Shutdown::Both));
    }

    /// Puts a frame of at most [`FRAME_BYTES_MAX`] octets into a writer of this connection.
    pub fn put_frame(to: &mut impl Write, kind: u8, octets: &[u8]) -> io::Result<()> {
        to.write_all(&head_of_frame(kind, octets)?)?;
        to.write_all(octets)
    }

    /// Reads a frame into `to`, in place of what is there; its kind.
    pub fn frame(&mut self, to: &mut Vec<u8>) -> io::Result<u8> {
        let mut head = [0; FRAME_HEAD_BYTES];
        self.0.read_exact(&mut head)?;
        let (kind, length) = frame_head(head).ok_or(io::ErrorKind::InvalidData)?;
        to.clear();
        to.resize(length, 0);
        self.0.read_exact(to)?;
        Ok(kind)
    }
}

/// Kind and length; nothing when it is too long.
fn frame_head([kind, length @ ..]: [u8; FRAME_HEAD_BYTES]) -> Option<(u8, usize)> {
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    (length <= FRAME_BYTES_MAX).then_some((kind, length))
}

fn head_of_frame(kind: u8, octets: &[u8]) -> io::Result<[u8; FRAME_HEAD_BYTES]> {
    if octets.len() > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let [a, b, c, d] = u32::try_from(octets.len()).unwrap_or(0).to_be_bytes();
    Ok([kind, a, b, c, d])
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
    fn frames_go_both_ways_behind_a_line_and_too_long_ones_are_refused() {
        let (mut stream, mut client) = LocalStream::pair(Duration::from_secs(5)).unwrap();
        let asking = std::thread::spawn(move || {
            let mut writer = client.writer().unwrap();
            writer.write_all(b"now frames\n").unwrap();
            LocalClient::put_frame(&mut writer, b'D', &[7; FRAME_BYTES_MAX]).unwrap();
            LocalClient::put_frame(&mut writer, b'E', b"").unwrap();
            assert!(LocalClient::put_frame(&mut writer, b'D', &[7; FRAME_BYTES_MAX + 1]).is_err());
            writer.write_all(b"D\xff\xff\xff\xff").unwrap();
            writer.flush().unwrap();
            let mut frame = Vec::new();
            assert_eq!((client.frame(&mut frame).unwrap(), frame.as_slice()), (b'A', &b"done"[..]));
        });
        smol::block_on(async {
            let mut frame = Vec::new();
            assert_eq!(stream.line(100).await.unwrap().unwrap(), b"now frames");
            assert_eq!(stream.frame(&mut frame).await.unwrap(), Some(b'D'));
            assert_eq!(frame, [7; FRAME_BYTES_MAX]);
            assert_eq!(stream.frame(&mut frame).await.unwrap(), Some(b'E'));
            assert!(frame.is_empty());
            assert_eq!(stream.frame(&mut frame).await.unwrap(), None);
            stream.write_frame(b'A', b"done").await.unwrap();
        });
        asking.join().unwrap();
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
