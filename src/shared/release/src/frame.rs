//! zstd frames of known length: chunks, manifests. Read in safe Rust, since the bytes come from anybody.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;

/// Why a frame is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("not a zstd frame that this reader takes: {0}")]
    Frame(String),
    #[error("the frame holds more than {0} bytes")]
    TooLong(usize),
    #[error("there are bytes after the frame")]
    Trailing,
}

/// Largest window that is taken: what is larger could hold nothing that is allowed anyway.
pub const WINDOW_MAX: u64 = 8 << 20;

/// The content of one frame, at most `limit` bytes.
///
/// # Errors
/// See [`FrameError`].
pub fn decode(frame: &[u8], limit: usize) -> Result<Vec<u8>, FrameError> {
    let wrong = |error: &dyn std::fmt::Display| FrameError::Frame(error.to_string());
    let mut rest = frame;
    // The window is allocated from what the header says.
    let mut decoder = StreamingDecoder::new_with_max_window_size(&mut rest, WINDOW_MAX).map_err(|e| wrong(&e))?;
    let mut content = Vec::with_capacity(limit.min(1 << 20));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.by_ref().take(most).read_to_end(&mut content).map_err(|e| wrong(&e))?;
    drop(decoder);
    if content.len() > limit {
        return Err(FrameError::TooLong(limit));
    }
    if !rest.is_empty() {
        return Err(FrameError::Trailing);
    }
    Ok(content)
}

/// One frame that holds `content`, made at that level of zstd. The same content gives the same bytes.
///
/// # Errors
/// None are expected of zstd in memory.
#[cfg(feature = "sign")]
pub fn encode(content: &[u8], level: i32) -> Result<Vec<u8>, FrameError> {
    let wrong = |error: std::io::Error| FrameError::Frame(error.to_string());
    let mut encoder = zstd::bulk::Compressor::new(level).map_err(wrong)?;
    encoder.include_checksum(false).map_err(wrong)?;
    encoder.compress(content).map_err(wrong)
}

#[cfg(all(test, feature = "sign"))]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_and_never_longer_than_allowed() {
        let content: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let frame = encode(&content, 19).unwrap();
        assert_eq!(decode(&frame, content.len()).unwrap(), content);
        assert!(matches!(decode(&frame, content.len() - 1), Err(FrameError::TooLong(_))));
        assert!(decode(&frame[..frame.len() - 1], content.len()).is_err());
        assert!(matches!(decode(&[&frame[..], &[0]].concat(), content.len()), Err(FrameError::Trailing)));
        assert!(decode(b"", 10).is_err() && decode(b"plain text", 10).is_err());
    }

    #[test]
    fn a_bomb_is_cut_off_at_the_limit() {
        let frame = encode(&vec![0; 64 << 20], 3).unwrap();
        assert!(frame.len() < 100_000);
        assert!(decode(&frame, 1 << 20).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..300, byte: u8, cut in 0usize..300) {
            let content: Vec<u8> = (0..3000u32).flat_map(u32::to_le_bytes).collect();
            let mut frame = encode(&content, 19).unwrap();
            let at = at % frame.len();
            frame[at] = byte;
            frame.truncate(frame.len() - cut % frame.len());
            let _ = decode(&frame, 100_000);
        }
    }
}
