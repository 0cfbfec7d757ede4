//! Little-endian numbers at a place in bytes. What is not whole before the end reads as 0: whoever must tell that apart compares
//! lengths first.

/// Bytes as they are; zeros, if not all of them are there.
#[must_use]
pub fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes_at(bytes, at))
}

#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, at))
}

#[must_use]
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_within_bounds_only() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(u16_at(&bytes, 1), 0x0302);
        assert_eq!(u32_at(&bytes, 5), 0x0908_0706);
        assert_eq!(u64_at(&bytes, 1), 0x0908_0706_0504_0302);
        for at in [6, 9, 10, usize::MAX] {
            assert_eq!(u32_at(&bytes, at), 0, "{at}");
        }
    }
}
