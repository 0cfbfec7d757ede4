//! Frames of the local socket over which a node's updater has the fleet's peers asked for pieces: names in, bytes out.
//!
//! ```text
//! connection  "FPS1", then requests and answers in turn; all numbers are big-endian
//! request     u8 kind (1 give, 2 refresh)  32 bytes repository  u16 length (<= 512)  name
//! answer      u8 status (0 here, 1 nobody, 2 refused, 3 later)  u64 length            bytes
//! ```
//! Neither side trusts the other: lengths are bounded before anything is allocated, and whoever meets a malformed frame closes the
//! connection. The one exception is a text that is no [`Name`] in a frame that is whole: it is answered with [`Status::Refused`].

use std::io::{self, Read};

use crate::digest::Digest;
use crate::name::{Name, NotAName};

/// Where the peer process listens.
pub const SOCKET_PATH: &str = "/run/fruit-peer/pieces.sock";
/// What a connection begins with, from the one that asks.
pub const MAGIC: [u8; 4] = *b"FPS1";
/// Longest name, in bytes.
pub const NAME_MAX: usize = 512;

const GIVE: u8 = 1;
const REFRESH: u8 = 2;

/// Why a frame is none.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Only this leaves the stream at the beginning of the next frame.
    #[error(transparent)]
    Name(#[from] NotAName),
    #[error("the connection does not begin with {:?}", String::from_utf8_lossy(&MAGIC))]
    Magic,
    #[error("{0} is no kind of request")]
    Kind(u8),
    #[error("{0} is no status of an answer")]
    Status(u8),
    #[error("a name of {0} bytes, at most {NAME_MAX} are allowed")]
    NameLength(usize),
    #[error("a refresh with a name, which is for the whole repository")]
    NamedRefresh,
    #[error("an answer of {found} bytes, at most {limit} are allowed")]
    AnswerLength { found: u64, limit: u64 },
    #[error("the connection ended within a frame")]
    Truncated,
}

/// What the updater asks of the peer process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// This piece.
    Give { repository: Digest, name: Name },
    /// That peers are asked for newer metadata of the repository; answered when they were, or after 20 s.
    Refresh { repository: Digest },
}

/// A request without its name: what has a fixed length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHead {
    kind: u8,
    repository: Digest,
    name_len: usize,
}

/// What came of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Status {
    /// The bytes follow; after a refresh: peers were asked.
    Here = 0,
    /// No peer that can be reached has it.
    Nobody = 1,
    /// There is nothing of such a name.
    Refused = 2,
    /// The process can't say yet: it has just started, or has too much to do.
    Later = 3,
}

/// An answer without its bytes: what has a fixed length. [`AnswerHead::encode`] is its writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerHead {
    pub status: Status,
    /// Bytes that follow.
    pub len: u64,
}

/// What the peer process answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Here(Vec<u8>),
    Nobody,
    Refused,
    Later,
}

/// The id of a repository: SHA-256 of its first root metadata, as published.
#[must_use]
pub fn repository_id(first_root: &[u8]) -> Digest {
    Digest::of(first_root)
}

/// Reads what a connection begins with.
///
/// # Errors
/// Something else; read errors.
pub fn read_magic(from: &mut impl Read) -> Result<(), LocalError> {
    let mut magic = [0; MAGIC.len()];
    read_exact(from, &mut magic)?;
    if magic == MAGIC { Ok(()) } else { Err(LocalError::Magic) }
}

fn read_exact(from: &mut impl Read, buf: &mut [u8]) -> Result<(), LocalError> {
    from.read_exact(buf).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => LocalError::Truncated,
        _ => error.into(),
    })
}

impl Request {
    fn repository(&self) -> &Digest {
        match self {
            Request::Give { repository, .. } | Request::Refresh { repository } => repository,
        }
    }

    /// Most bytes that an answer to this may have.
    #[must_use]
    pub fn answer_limit(&self) -> u64 {
        match self {
            Request::Give { name, .. } => name.limit(),
            Request::Refresh { .. } => 0,
        }
    }

    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, name) = match self {
            Request::Give { name, .. } => (GIVE, name.to_string()),
            Request::Refresh { .. } => (REFRESH, String::new()),
        };
        // No name has more than `NAME_MAX` bytes: its longest folder, hash and file are bounded.
        let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let mut frame = Vec::with_capacity(RequestHead::LEN + name.len());
        frame.push(kind);
        frame.extend_from_slice(&self.repository().0);
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(name.as_bytes());
        frame
    }

    /// The next request; `None` where the connection ends between two.
    ///
    /// # Errors
    /// [`LocalError`]; after [`LocalError::Name`] the next request can be read.
    pub fn read(from: &mut impl Read) -> Result<Option<Request>, LocalError> {
        let mut head = [0; RequestHead::LEN];
        loop {
            match from.read(&mut head[..1]) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        read_exact(from, &mut head[1..])?;
        let head = RequestHead::parse(&head)?;
        let mut name = [0; NAME_MAX];
        let name = name.get_mut(..head.name_len).ok_or(LocalError::NameLength(head.name_len))?;
        read_exact(from, name)?;
        head.with_name(name).map(Some)
    }
}

impl RequestHead {
    /// Bytes before the name.
    pub const LEN: usize = 1 + 32 + 2;

    /// # Errors
    /// Not the head of a request.
    pub fn parse(head: &[u8; RequestHead::LEN]) -> Result<RequestHead, LocalError> {
        let [kind, repository @ .., high, low] = head;
        let name_len = usize::from(u16::from_be_bytes([*high, *low]));
        match *kind {
            GIVE if name_len <= NAME_MAX => {}
            GIVE => return Err(LocalError::NameLength(name_len)),
            REFRESH if name_len == 0 => {}
            REFRESH => return Err(LocalError::NamedRefresh),
            other => return Err(LocalError::Kind(other)),
        }
        let repository = Digest(*repository);
        Ok(RequestHead { kind: *kind, repository, name_len })
    }

    /// Bytes of the name that follows, at most [`NAME_MAX`].
    #[must_use]
    pub fn name_len(&self) -> usize {
        self.name_len
    }

    /// The request, with the name that followed.
    ///
    /// # Errors
    /// [`LocalError::Name`].
    pub fn with_name(self, name: &[u8]) -> Result<Request, LocalError> {
        let repository = self.repository;
        if self.kind == REFRESH {
            return Ok(Request::Refresh { repository });
        }
        let name = String::from_utf8_lossy(name).parse()?;
        Ok(Request::Give { repository, name })
    }
}

impl AnswerHead {
    pub const LEN: usize = 1 + 8;

    #[must_use]
    pub fn encode(self) -> [u8; AnswerHead::LEN] {
        let mut frame = [self.status as u8; AnswerHead::LEN];
        frame[1..].copy_from_slice(&self.len.to_be_bytes());
        frame
    }

    /// `limit`: most bytes that may follow, see [`Request::answer_limit`].
    ///
    /// # Errors
    /// Not the head of such an answer.
    pub fn parse(head: &[u8; AnswerHead::LEN], limit: u64) -> Result<AnswerHead, LocalError> {
        let [status, len @ ..] = head;
        let len = u64::from_be_bytes(*len);
        let status = match status {
            0 => Status::Here,
            1 => Status::Nobody,
            2 => Status::Refused,
            3 => Status::Later,
            other => return Err(LocalError::Status(*other)),
        };
        let limit = if status == Status::Here { limit } else { 0 };
        if len > limit {
            return Err(LocalError::AnswerLength { found: len, limit });
        }
        Ok(AnswerHead { status, len })
    }
}

impl Answer {
    /// The frame: head, and what follows it.
    #[must_use]
    pub fn frame(&self) -> ([u8; AnswerHead::LEN], &[u8]) {
        let (status, bytes) = match self {
            Answer::Here(bytes) => (Status::Here, bytes.as_slice()),
            Answer::Nobody => (Status::Nobody, &[][..]),
            Answer::Refused => (Status::Refused, &[][..]),
            Answer::Later => (Status::Later, &[][..]),
        };
        (AnswerHead { status, len: bytes.len() as u64 }.encode(), bytes)
    }

    /// The next answer, of at most `limit` bytes. Memory is taken as they come, not as they are announced.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn read(from: &mut impl Read, limit: u64) -> Result<Answer, LocalError> {
        let mut head = [0; AnswerHead::LEN];
        read_exact(from, &mut head)?;
        let head = AnswerHead::parse(&head, limit)?;
        Ok(match head.status {
            Status::Nobody => Answer::Nobody,
            Status::Refused => Answer::Refused,
            Status::Later => Answer::Later,
            Status::Here => {
                let mut bytes = Vec::new();
                from.take(head.len).read_to_end(&mut bytes)?;
                if bytes.len() as u64 != head.len {
                    return Err(LocalError::Truncated);
                }
                Answer::Here(bytes)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> [Request; 3] {
        let repository = repository_id(b"{}");
        let folder = "a".repeat(crate::name::FOLDER_MAX);
        let longest = format!("{folder}/{}", "b".repeat(crate::name::FILE_MAX));
        [
            Request::Give { repository, name: Name::Root(1) },
            Request::Refresh { repository },
            Request::Give { repository, name: Name::Target(Digest::of(b"x"), longest) },
        ]
    }

    #[test]
    fn requests_and_answers_come_back_one_after_the_other() {
        let stream = [MAGIC.to_vec(), requests().iter().flat_map(Request::encode).collect()].concat();
        let mut from = stream.as_slice();
        read_magic(&mut from).unwrap();
        for request in requests() {
            assert_eq!(Request::read(&mut from).unwrap(), Some(request));
        }
        assert_eq!(Request::read(&mut from).unwrap(), None);

        let answers =
            [Answer::Here(vec![7; 1000]), Answer::Nobody, Answer::Here(vec![]), Answer::Refused, Answer::Later];
        let frames: Vec<u8> = answers.iter().flat_map(|a| [&a.frame().0[..], a.frame().1].concat()).collect();
        let mut from = frames.as_slice();
        for answer in answers {
            assert_eq!(Answer::read(&mut from, 1000).unwrap(), answer);
        }
    }

    /// As the bytes are on the socket: both programs of a node may be of different releases.
    #[test]
    fn frames_are_these_bytes() {
        let repository = Digest([0xab; 32]);
        let give = Request::Give { repository, name: Name::Timestamp }.encode();
        assert_eq!(give, [&[1][..], &[0xab; 32], &[0, 23], b"metadata/timestamp.json"].concat());
        assert_eq!(Request::Refresh { repository }.encode(), [&[2][..], &[0xab; 32], &[0, 0]].concat());
        assert_eq!(Answer::Here(b"xy".to_vec()).frame(), ([0, 0, 0, 0, 0, 0, 0, 0, 2], &b"xy"[..]));
        assert_eq!(Answer::Later.frame(), ([3, 0, 0, 0, 0, 0, 0, 0, 0], &b""[..]));
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_read() {
        let answer = AnswerHead { status: Status::Here, len: 1001 }.encode();
        let error = Answer::read(&mut &answer[..], 1000).unwrap_err();
        assert!(matches!(error, LocalError::AnswerLength { found: 1001, limit: 1000 }), "{error}");
        let empty_handed = AnswerHead { status: Status::Nobody, len: 1 }.encode();
        assert!(matches!(Answer::read(&mut &empty_handed[..], 1000), Err(LocalError::AnswerLength { .. })));
        let mut request = requests()[0].encode();
        request[33..35].copy_from_slice(&513u16.to_be_bytes());
        assert!(matches!(Request::read(&mut request.as_slice()), Err(LocalError::NameLength(513))));
        let mut refresh = requests()[1].encode();
        refresh[34] = 1;
        assert!(matches!(Request::read(&mut refresh.as_slice()), Err(LocalError::NamedRefresh)));
    }

    #[test]
    fn a_frame_that_ends_early_is_none() {
        let request = requests()[0].encode();
        for len in 1..request.len() {
            assert!(matches!(Request::read(&mut &request[..len]), Err(LocalError::Truncated)), "{len}");
        }
        let (head, bytes) = (AnswerHead { status: Status::Here, len: 2 }.encode(), [1]);
        for len in 0..=head.len() {
            let answer = [&head[..len], if len == head.len() { &bytes[..] } else { &[] }].concat();
            assert!(matches!(Answer::read(&mut answer.as_slice(), 9), Err(LocalError::Truncated)), "{len}");
        }
        assert!(matches!(read_magic(&mut &b"FPS"[..]), Err(LocalError::Truncated)));
        assert!(matches!(read_magic(&mut &b"GET /"[..]), Err(LocalError::Magic)));
    }

    #[test]
    fn a_bad_name_costs_only_its_own_request() {
        let name = b"metadata/../timestamp.json";
        let bad = [&[1][..], &[0; 32], &(name.len() as u16).to_be_bytes(), name].concat();
        let stream = [bad, requests()[1].encode()].concat();
        let mut from = stream.as_slice();
        assert!(matches!(Request::read(&mut from), Err(LocalError::Name(_))));
        assert_eq!(Request::read(&mut from).unwrap(), Some(requests()[1].clone()));
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_what_was_written(bytes: Vec<u8>, limit in 0u64..2000) {
            if let Ok(Some(request)) = Request::read(&mut bytes.as_slice()) {
                assert!(bytes.starts_with(&request.encode()));
            }
            if let Ok(answer) = Answer::read(&mut bytes.as_slice(), limit) {
                let (head, rest) = answer.frame();
                assert!(rest.len() as u64 <= limit && bytes.starts_with(&[&head[..], rest].concat()));
            }
        }
    }
}
