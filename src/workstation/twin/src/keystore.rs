//! Java's list of authorities, `/etc/ssl/certs/java/cacerts`: a JKS file (sun.security.provider.JavaKeyStore), which holds
//! the time at which each certificate was added.

use sha1::{Digest, Sha1};

const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// Tag of an entry that is a certificate.
const CERTIFICATE: u32 = 2;
/// Bytes of the seal at the end.
const SEAL: usize = 20;
/// What every Java knows for the password of this file.
const PASSWORD: &str = "changeit";

/// The same certificates, each added at `epoch` (seconds since 1970), in order of their names; `None` for anything that is
/// no such file.
pub(crate) fn settle(bytes: &[u8], epoch: i64) -> Option<Vec<u8>> {
    let body = bytes.get(..bytes.len().checked_sub(SEAL)?)?;
    if seal(body)[..] != bytes[body.len()..] {
        return None;
    }
    let mut rest = body.strip_prefix(&MAGIC)?;
    let version = number(&mut rest)?;
    let count = number(&mut rest)?;
    let mut entries: Vec<(&[u8], &[u8])> = Vec::new();
    for _ in 0..count {
        if number(&mut rest)? != CERTIFICATE {
            return None;
        }
        let alias = short(&mut rest)?;
        take(&mut rest, 8)?;
        let start = rest;
        if version == 2 {
            short(&mut rest)?;
        }
        let length = usize::try_from(number(&mut rest)?).ok()?;
        take(&mut rest, length)?;
        entries.push((alias, &start[..start.len() - rest.len()]));
    }
    if !rest.is_empty() {
        return None;
    }
    entries.sort_unstable();
    let mut out = body[..12].to_vec();
    for (alias, certificate) in entries {
        out.extend(CERTIFICATE.to_be_bytes());
        out.extend(u16::try_from(alias.len()).ok()?.to_be_bytes());
        out.extend(alias);
        out.extend(epoch.checked_mul(1000)?.to_be_bytes());
        out.extend(certificate);
    }
    let seal = seal(&out);
    out.extend(seal);
    Some(out)
}

fn seal(body: &[u8]) -> [u8; SEAL] {
    let mut hash = Sha1::new();
    hash.update(PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
    hash.update("Mighty Aphrodite");
    hash.update(body);
    hash.finalize().into()
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

fn short<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = u16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
    take(rest, length.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn store(entries: &[(&str, i64, &[u8])]) -> Vec<u8> {
        let mut body = MAGIC.to_vec();
        body.extend(2u32.to_be_bytes());
        body.extend((entries.len() as u32).to_be_bytes());
        for (alias, time, certificate) in entries {
            body.extend(2u32.to_be_bytes());
            body.extend((alias.len() as u16).to_be_bytes());
            body.extend(alias.as_bytes());
            body.extend(time.to_be_bytes());
            body.extend(5u16.to_be_bytes());
            body.extend(b"X.509");
            body.extend((certificate.len() as u32).to_be_bytes());
            body.extend(*certificate);
        }
        let seal = seal(&body);
        body.extend(seal);
        body
    }

    #[test]
    fn neither_the_time_nor_the_order_of_the_run_shows() {
        let one = store(&[("b", 1, b"bee"), ("a", 2, b"ay")]);
        let other = store(&[("a", 77, b"ay"), ("b", 78, b"bee")]);
        assert_eq!(settle(&one, 9).unwrap(), store(&[("a", 9000, b"ay"), ("b", 9000, b"bee")]));
        assert_eq!(settle(&one, 9), settle(&other, 9));
        let mut broken = one;
        broken[20] ^= 1;
        assert!(settle(&broken, 9).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut body = MAGIC.to_vec();
            body.extend(&bytes);
            body.extend(seal(&body));
            let _ = settle(&body, 1);
            let _ = settle(&bytes, 1);
        }
    }
}
