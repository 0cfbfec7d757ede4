//! As much of HTTP as a collector and our own program speak: one request per connection, its headers ignored.

/// Bytes of a request at most.
pub const REQUEST_MAX: usize = 4096;

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// The end of the headers has not come yet.
    Incomplete,
    Metrics,
    Status,
    /// The node goes down; systemd's word for how.
    Stopping(&'a str),
    /// Well-formed, but nothing that is offered.
    Unknown,
    Malformed,
}

/// Reads a request of which `bytes` have arrived.
pub fn parse(bytes: &[u8]) -> Request<'_> {
    let ended = bytes.windows(4).any(|end| end == b"\r\n\r\n") || bytes.windows(2).any(|end| end == b"\n\n");
    match (ended, bytes.len() >= REQUEST_MAX) {
        (false, false) => return Request::Incomplete,
        (false, true) => return Request::Malformed,
        _ => {}
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return Request::Malformed };
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Request::Malformed;
    };
    if !version.starts_with("HTTP/1.") {
        return Request::Malformed;
    }
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET", "/metrics") => Request::Metrics,
        ("GET", "/status") => Request::Status,
        ("POST", path) => path.strip_prefix("/stopping/").map_or(Request::Unknown, Request::Stopping),
        _ => Request::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_told_apart() {
        let cases: [(&[u8], Request); 9] = [
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Request::Metrics),
            (b"GET /metrics?name=x HTTP/1.0\n\n", Request::Metrics),
            (b"GET /status HTTP/1.1\r\n\r\n", Request::Status),
            (b"POST /stopping/reboot HTTP/1.1\r\n\r\n", Request::Stopping("reboot")),
            (b"GET / HTTP/1.1\r\n\r\n", Request::Unknown),
            (b"DELETE /metrics HTTP/1.1\r\n\r\n", Request::Unknown),
            (b"GET /metrics HTTP/1.1\r\nHost:", Request::Incomplete),
            (b"hello\n\n", Request::Malformed),
            (b"\xff\xfe \n\n", Request::Malformed),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(&[b'x'; REQUEST_MAX]), Request::Malformed);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
