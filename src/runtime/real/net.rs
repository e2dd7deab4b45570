//! TCP on tokio.

use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::super::Message;
use crate::trace::EventId;

/// Accepts connections on one address.
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on `address` (`host:port`; port 0: the system chooses).
    ///
    /// # Errors
    /// The address is taken, or not of this host.
    pub async fn bind(address: &str) -> io::Result<Self> {
        let mut error = io::Error::new(io::ErrorKind::NotFound, format!("no address for `{address}`"));
        for candidate in tokio::net::lookup_host(address).await? {
            let socket =
                if candidate.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            match socket.bind(candidate).and_then(|()| socket.listen(1024)) {
                Ok(listener) => return Ok(Self(listener)),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    /// The address listened on, with the port that was chosen.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<String> {
        Ok(self.0.local_addr()?.to_string())
    }

    /// Waits for the next connection; gives its halves and the peer's address.
    ///
    /// # Errors
    /// Out of file descriptors, or the connection died at once; the caller may go on.
    pub async fn accept(&self) -> io::Result<(Reader, Writer, String)> {
        let (stream, peer) = self.0.accept().await?;
        let (reader, writer) = halves(stream)?;
        Ok((reader, writer, peer.to_string()))
    }
}

/// Connects to `address` (`host:port`). Has no time limit of its own.
///
/// # Errors
/// Refused, unreachable, or the name is not known.
pub async fn connect(address: &str) -> io::Result<(Reader, Writer)> {
    halves(TcpStream::connect(address).await?)
}

fn halves(stream: TcpStream) -> io::Result<(Reader, Writer)> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok((Reader(reader), Writer(writer)))
}

/// The receiving half.
pub struct Reader(OwnedReadHalf);

impl Reader {
    /// Appends what has arrived to `buffer`, waiting for at least one byte. 0: the peer closed.
    ///
    /// # Errors
    /// The connection was reset.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.0.read_buf(buffer).await
    }

    /// The event that put the latest bytes read on the wire; not known in the deployment.
    pub fn cause(&self) -> Option<EventId> {
        None
    }
}

/// The sending half. Dropping it closes the direction.
pub struct Writer(OwnedWriteHalf);

impl Writer {
    /// Sends a message as a whole. Waits while the peer does not read.
    ///
    /// # Errors
    /// The connection is closed or was reset.
    pub async fn write(&mut self, message: Message) -> io::Result<()> {
        if let [chunk] = &message.chunks[..] {
            return self.0.write_all(chunk).await;
        }
        let mut chunks = message.chunks;
        let mut first = 0;
        while first < chunks.len() {
            if chunks[first].is_empty() {
                first += 1;
                continue;
            }
            let slices: Vec<IoSlice<'_>> = chunks[first..].iter().take(64).map(|chunk| IoSlice::new(chunk)).collect();
            let mut written = self.0.write_vectored(&slices).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while written > 0 {
                let taken = written.min(chunks[first].len());
                Bytes::advance(&mut chunks[first], taken);
                written -= taken;
                if chunks[first].is_empty() {
                    first += 1;
                }
            }
        }
        Ok(())
    }
}
