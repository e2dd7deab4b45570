//! Requests and responses over one connection of the runtime seam: framing, correlation, time-outs, order.
//!
//! [`Connection`] is the calling side, used by clients, replica fetchers and brokers that talk to the controller;
//! [`serve`] is the answering side, used by every listener. Not here: what requests mean, retries, who leads what.

mod connection;
mod server;
mod shutdown;

pub use connection::{Answer, Connection, RpcError};
pub use server::{Options, Peer, Reply, Service, serve};
pub use shutdown::Shutdown;

use bytes::{Bytes, BytesMut};

use crate::protocol::frame::PREFIX_BYTES;

/// Frames up to this size get their whole buffer at once; larger ones as their bytes arrive.
const EAGER_BYTES: usize = 1 << 20;

/// Takes the next whole frame out of `buffer`, or makes room for more of it.
///
/// # Errors
/// The length is negative or above `max_bytes`.
fn next_frame(buffer: &mut BytesMut, max_bytes: usize) -> Result<Option<Bytes>, String> {
    let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else {
        buffer.reserve(4096);
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    let length = usize::try_from(length).map_err(|_| format!("a frame of {length} bytes"))?;
    if length > max_bytes {
        return Err(format!("a frame of {length} bytes, where {max_bytes} are allowed"));
    }
    let missing = (PREFIX_BYTES + length).saturating_sub(buffer.len());
    if missing > 0 {
        buffer.reserve(missing.min(EAGER_BYTES.max(buffer.len())));
        return Ok(None);
    }
    Ok(Some(buffer.split_to(PREFIX_BYTES + length).freeze().slice(PREFIX_BYTES..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_whole_and_room_is_never_made_for_a_length_alone() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, b'a', b'b', 0, 0, 0, 1][..]);
        assert_eq!(next_frame(&mut buffer, 9), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(next_frame(&mut buffer, 9), Ok(None));
        assert!(next_frame(&mut BytesMut::from(&[0xff; 4][..]), 9).unwrap_err().contains("-1"));
        assert!(next_frame(&mut BytesMut::from(&[0, 0, 0, 10][..]), 9).unwrap_err().contains("10"));
        let mut huge = BytesMut::from(&[0x05, 0, 0, 0][..]);
        assert_eq!(next_frame(&mut huge, 100 << 20), Ok(None));
        assert!(huge.capacity() <= 2 * EAGER_BYTES, "{}", huge.capacity());
    }
}
