//! Small bodies of the component's own.

use wasip2::http::types::OutgoingBody;

/// At most so much at a time: `blocking-write-and-flush` takes no more.
const MAX_WRITE_BYTES: usize = 4096;

/// Writes a few kilobytes, which every host takes at once, and ends the body.
///
/// # Errors
///
/// The other side is gone, or the host takes no such body.
pub(super) fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), ()> {
    if !bytes.is_empty() {
        let stream = body.write()?;
        for chunk in bytes.chunks(MAX_WRITE_BYTES) {
            stream.blocking_write_and_flush(chunk).map_err(|_| ())?;
        }
    }
    OutgoingBody::finish(body, None).map_err(|_| ())
}
