//! Frames between two nodes, on the one long-lived stream of a connection.
//!
//! ```text
//! frame   u32 BE length of what follows (at most 64 KiB) · u8 kind · content
//! ```
//! The content is written as records are: numbers as LEB128, lists with their count. Every count is bounded before anything is
//! allocated. A kind from 128 on may be passed over by programs that do not know it. Pieces of releases have streams of their
//! own, with the requests and answers of [`fruit_release::local`].

use fruit_base::Sha256;
use fruit_record::wire::{Malformed, Reader, Writer};
use fruit_record::{FleetId, RecordHash, limits};
use fruit_release::name::Name;

/// What connections of nodes are for, as QUIC negotiates it.
pub const PROTOCOL: &[u8] = b"fruit-peer/1";
/// Lowest and highest version of these frames that this program speaks.
pub const VERSIONS: [u64; 2] = [1, 1];
/// Bytes of the longest frame, without its length.
pub const FRAME: usize = 64 << 10;
/// Records by which a node shows that it is a member: one for each domain.
pub const MEMBERSHIPS: usize = 4;
/// Buckets of a summary.
pub const BUCKETS: usize = 256;
/// Items of one range, or of one wish.
pub const ITEMS: usize = 2048;
/// Names of one question for pieces.
pub const NAMES: usize = 64;
/// Charters of one frame: as many as fit.
pub const CHARTERS: usize = 64;
/// The first kind that may be passed over.
const SKIPPABLE: u8 = 128;

/// What a record is called while two nodes compare what they have: the first half of the SHA-256 of its bytes, signatures
/// included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Item(pub [u8; 16]);

impl Item {
    pub const LOWEST: Item = Item([0; 16]);
    pub const HIGHEST: Item = Item([0xff; 16]);

    #[must_use]
    pub fn of(record: &[u8]) -> Item {
        let mut item = [0; 16];
        item.copy_from_slice(&Sha256::of(record).0[..16]);
        Item(item)
    }

    /// First and last item of a bucket.
    #[must_use]
    pub fn bucket(number: u8) -> [Item; 2] {
        [Item::LOWEST, Item::HIGHEST].map(|mut item| {
            item.0[0] = number;
            item
        })
    }
}

/// As what a node introduces itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// As a member, by the records that say so.
    Member(Vec<Vec<u8>>),
    /// As one that wants to be a member, by its request.
    Guest(Vec<u8>),
    /// As a machine of an operator, by a [`crate::pass::Pass`].
    Operator(Vec<u8>),
}

/// The first frame in each direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Lowest and highest version that the sender speaks.
    pub versions: [u64; 2],
    pub fleet: FleetId,
    /// Version and hash of its last charter; 0 if it has none yet.
    pub charter: (u64, RecordHash),
    pub standing: Standing,
}

/// What two nodes say to each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    Hello(Hello),
    /// The sender wants the charters from this version on.
    WantCharters(u64),
    /// Charters in ascending order, up to the last one of the sender's row if `is_last`.
    Charters {
        is_last: bool,
        records: Vec<Vec<u8>>,
    },
    Record(Vec<u8>),
    /// A node's request to become a member, on its way to an operator.
    Request(Vec<u8>),
    /// Hash of all items that the sender has.
    Digest([u8; 32]),
    /// The same for each bucket of items, shortened.
    Summary(Box<[u64; BUCKETS]>),
    /// All items of the sender from the first to the last of these two.
    Range {
        bounds: [Item; 2],
        items: Vec<Item>,
    },
    /// Items whose records the sender wants.
    Wish(Vec<Item>),
    /// A range was dealt with.
    Next,
    /// Which of these pieces are there?
    Ask {
        id: u64,
        repository: Sha256,
        names: Vec<Name>,
    },
    /// Bit for bit: those.
    Have {
        id: u64,
        bits: u64,
    },
    /// The sender ends the connection; the text says why.
    Bye(String),
    /// Of a newer program: passed over.
    Unknown(u8),
}

/// Why bytes are no frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAFrame {
    #[error("a frame has {0} bytes, at most {FRAME} are allowed")]
    Long(usize),
    #[error("there is no frame of kind {0}")]
    Kind(u8),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0:?} is the name of no piece")]
    Name(String),
}

impl Frame {
    /// The frame, with its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(vec![0; 4]);
        w.raw(&[self.kind()]);
        self.write(&mut w);
        let length = u32::try_from(w.0.len() - 4).unwrap_or(u32::MAX);
        w.0[..4].copy_from_slice(&length.to_be_bytes());
        w.0
    }

    fn kind(&self) -> u8 {
        match self {
            Frame::Hello(_) => 1,
            Frame::WantCharters(_) => 2,
            Frame::Charters { .. } => 3,
            Frame::Record(_) => 4,
            Frame::Request(_) => 5,
            Frame::Digest(_) => 6,
            Frame::Summary(_) => 7,
            Frame::Range { .. } => 8,
            Frame::Wish(_) => 9,
            Frame::Next => 10,
            Frame::Ask { .. } => 11,
            Frame::Have { .. } => 12,
            Frame::Bye(_) => 13,
            Frame::Unknown(kind) => *kind,
        }
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Frame::Hello(hello) => write_hello(w, hello),
            Frame::WantCharters(from) => w.number(*from),
            Frame::Charters { is_last, records } => {
                w.raw(&[u8::from(*is_last)]);
                w.list(records.iter(), |w, record| w.bytes(record));
            }
            Frame::Record(bytes) | Frame::Request(bytes) => w.raw(bytes),
            Frame::Digest(digest) => w.raw(digest),
            Frame::Summary(buckets) => buckets.iter().for_each(|bucket| w.raw(&bucket.to_be_bytes())),
            Frame::Range { bounds: [first, last], items } => {
                w.raw(&first.0);
                w.raw(&last.0);
                w.list(items.iter(), |w, item| w.raw(&item.0));
            }
            Frame::Wish(items) => w.list(items.iter(), |w, item| w.raw(&item.0)),
            Frame::Next | Frame::Unknown(_) => {}
            Frame::Ask { id, repository, names } => {
                w.number(*id);
                w.raw(&repository.0);
                w.list(names.iter(), |w, name| w.bytes(name.to_string().as_bytes()));
            }
            Frame::Have { id, bits } => {
                w.number(*id);
                w.number(*bits);
            }
            Frame::Bye(why) => w.bytes(shortened(why).as_bytes()),
        }
    }

    /// Reads what follows the length: `bytes` are the whole frame.
    ///
    /// # Errors
    /// [`NotAFrame`].
    pub fn decode(bytes: &[u8]) -> Result<Frame, NotAFrame> {
        if bytes.len() > FRAME {
            return Err(NotAFrame::Long(bytes.len()));
        }
        let mut r = Reader::new(bytes);
        let [kind] = r.array("the frame")?;
        let frame = match kind {
            1 => Frame::Hello(read_hello(&mut r)?),
            2 => Frame::WantCharters(r.number("the first charter")?),
            3 => Frame::Charters {
                is_last: flag(&mut r, "the end of charters")?,
                records: r.list(CHARTERS, "the charters", |r| Ok(r.bytes(limits::RECORD, "a charter")?.to_vec()))?,
            },
            4 => Frame::Record(rest(&mut r, limits::RECORD, "the record")?),
            5 => Frame::Request(rest(&mut r, limits::REQUEST, "the request")?),
            6 => Frame::Digest(r.array("the digest")?),
            7 => {
                let mut buckets = Box::new([0; BUCKETS]);
                for bucket in buckets.iter_mut() {
                    *bucket = u64::from_be_bytes(r.array("the summary")?);
                }
                Frame::Summary(buckets)
            }
            8 => {
                let bounds = [read_item(&mut r)?, read_item(&mut r)?];
                let items = r.list(ITEMS, "the range", read_item)?;
                let within = items.iter().all(|item| (bounds[0]..=bounds[1]).contains(item));
                if !within || !items.is_sorted_by(|a, b| a < b) {
                    return Err(Malformed::NotCanonical { what: "the range" }.into());
                }
                Frame::Range { bounds, items }
            }
            9 => Frame::Wish(r.list(ITEMS, "the wish", read_item)?),
            10 => Frame::Next,
            11 => {
                let (id, repository) = (r.number("the question")?, Sha256(r.array("the repository")?));
                let texts = r.list(NAMES, "the names", |r| r.text(fruit_release::local::NAME_MAX, "a name"))?;
                let name = |text: String| text.parse::<Name>().map_err(|_| NotAFrame::Name(shortened(&text)));
                Frame::Ask { id, repository, names: texts.into_iter().map(name).collect::<Result<_, _>>()? }
            }
            12 => Frame::Have { id: r.number("the question")?, bits: r.number("the answer")? },
            13 => Frame::Bye(r.text(limits::TEXT, "the reason")?),
            SKIPPABLE.. => return Ok(Frame::Unknown(kind)),
            _ => return Err(NotAFrame::Kind(kind)),
        };
        r.end("the frame")?;
        Ok(frame)
    }
}

/// At most as long as a reason may be, with nothing in it that a terminal would not show.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars().filter(|c| !c.is_control() && fruit_base::invisible::name(*c).is_none()) {
        if short.len() + c.len_utf8() > limits::TEXT {
            break;
        }
        short.push(c);
    }
    short
}

fn write_hello(w: &mut Writer, hello: &Hello) {
    hello.versions.iter().for_each(|version| w.number(*version));
    w.raw(&hello.fleet.0);
    w.number(hello.charter.0);
    w.raw(&hello.charter.1.0);
    let (kind, texts) = match &hello.standing {
        Standing::Member(records) => (1, records.as_slice()),
        Standing::Guest(request) => (2, std::slice::from_ref(request)),
        Standing::Operator(pass) => (3, std::slice::from_ref(pass)),
    };
    w.raw(&[kind]);
    w.list(texts.iter(), |w, bytes| w.bytes(bytes));
}

fn read_hello(r: &mut Reader<'_>) -> Result<Hello, Malformed> {
    let what = "the greeting";
    let versions = [r.number(what)?, r.number(what)?];
    let (fleet, version, hash) = (FleetId::read(r)?, r.number("the charter")?, RecordHash::read(r)?);
    let [kind] = r.array(what)?;
    let mut texts = r.list(MEMBERSHIPS, what, |r| Ok(r.bytes(limits::RECORD, what)?.to_vec()))?;
    let mut single = || match texts.pop() {
        Some(text) if texts.is_empty() => Ok(text),
        _ => Err(Malformed::Value { what, why: "it has one proof" }),
    };
    let standing = match kind {
        1 => Standing::Member(texts),
        2 => Standing::Guest(single()?),
        3 => Standing::Operator(single()?),
        number => return Err(Malformed::Newer { what: "standing", number: number.into() }),
    };
    Ok(Hello { versions, fleet, charter: (version, hash), standing })
}

fn read_item(r: &mut Reader<'_>) -> Result<Item, Malformed> {
    r.array("an item").map(Item)
}

fn flag(r: &mut Reader<'_>, what: &'static str) -> Result<bool, Malformed> {
    match r.array(what)? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Malformed::NotCanonical { what }),
    }
}

fn rest(r: &mut Reader<'_>, limit: usize, what: &'static str) -> Result<Vec<u8>, Malformed> {
    match r.rest().len() {
        length if length > limit => Err(Malformed::TooMany { what, found: length as u64, limit }),
        length => Ok(r.take(length, what)?.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames() -> Vec<Frame> {
        let item = |n: u8| Item([n; 16]);
        let hello = |standing| {
            Frame::Hello(Hello {
                versions: VERSIONS,
                fleet: FleetId([1; 32]),
                charter: (3, RecordHash([2; 32])),
                standing,
            })
        };
        vec![
            hello(Standing::Member(vec![vec![1; 300], vec![2]])),
            hello(Standing::Guest(vec![3; 400])),
            hello(Standing::Operator(vec![4; 100])),
            Frame::WantCharters(2),
            Frame::Charters { is_last: true, records: vec![vec![5; 500]] },
            Frame::Record(vec![6; 200]),
            Frame::Request(vec![7; 200]),
            Frame::Digest([8; 32]),
            Frame::Summary(Box::new([9; BUCKETS])),
            Frame::Range { bounds: Item::bucket(7), items: vec![item(7)] },
            Frame::Wish(vec![item(1), item(0)]),
            Frame::Next,
            Frame::Ask { id: 1, repository: Sha256([1; 32]), names: vec![Name::Timestamp, Name::Root(2)] },
            Frame::Have { id: 1, bits: 3 },
            Frame::Bye("it is late".into()),
        ]
    }

    #[test]
    fn frames_come_back() {
        for frame in frames() {
            let bytes = frame.encode();
            assert_eq!(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
            assert_eq!(Frame::decode(&bytes[4..]), Ok(frame));
        }
    }

    #[test]
    fn what_a_frame_may_not_have_is_refused() {
        assert_eq!(Frame::decode(&vec![4; FRAME + 1]), Err(NotAFrame::Long(FRAME + 1)));
        assert_eq!(Frame::decode(&[99]), Err(NotAFrame::Kind(99)));
        assert_eq!(Frame::decode(&[200, 1, 2, 3]), Ok(Frame::Unknown(200)));
        assert!(Frame::decode(&[]).is_err());
        // 2^63 items in a few bytes.
        let many = [&[9][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert!(matches!(Frame::decode(&many), Err(NotAFrame::Malformed(Malformed::TooMany { .. }))));
        let outside = Frame::Range { bounds: Item::bucket(7), items: vec![Item([8; 16])] }.encode();
        assert!(Frame::decode(&outside[4..]).is_err());
        let mut name = Frame::Ask { id: 1, repository: Sha256([1; 32]), names: vec![Name::Timestamp] }.encode();
        let end = name.len();
        name[end - 1] = b'x';
        assert!(matches!(Frame::decode(&name[4..]), Err(NotAFrame::Name(_))));
        assert_eq!(Frame::Bye("a\x1b[2J\u{202e}".repeat(200)).encode().len(), 4 + 1 + 2 + 256);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_is_read_is_written_alike(at in 0usize..15, place in 0usize..900, byte: u8, cut in 0usize..900) {
            let mut bytes = frames()[at].encode().split_off(4);
            let place = place % bytes.len();
            bytes[place] = byte;
            bytes.truncate(bytes.len() - cut % bytes.len());
            if let Ok(frame) = Frame::decode(&bytes)
                && !matches!(frame, Frame::Unknown(_))
            {
                prop_assert_eq!(&frame.encode()[4..], &bytes[..]);
            }
        }
    }
}
