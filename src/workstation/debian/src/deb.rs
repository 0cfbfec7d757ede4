//! The .deb container (deb(5)): an `ar` archive of `debian-binary`, `control.tar*` and `data.tar*`. What follows them, such
//! as the signatures of debsigs and dpkg-sig, is not looked at, as dpkg does not: the hash of the whole file vouches for it.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use flate2::bufread::GzDecoder;

use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: u64 = 60;
/// Members up to data.tar; a real file has three.
const MAX_MEMBERS: usize = 16;

/// Longest debian-binary, in bytes: a version, and lines that later formats may add.
const MAX_FORMAT: u64 = 256;

/// A decoder's dictionary and tables: `xz -9` needs 65 MiB; more is refused.
const XZ_MEMORY: u64 = 100 << 20;

/// Decompressed bytes of one archive, whatever its size.
pub(crate) const MAX_UNPACKED: u64 = 8 << 30;
/// Packages of text reach 30:1; more than this is a decompression bomb, unless the result is small anyway.
pub(crate) const MAX_RATIO: u64 = 200;
pub(crate) const SMALL: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
    Lzma,
}

/// Where a member lies in the file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub offset: u64,
    pub size: u64,
    pub compression: Compression,
}

/// The two archives of a .deb file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub control: Member,
    pub data: Member,
}

impl Layout {
    /// Finds the members. `deb` is what messages call the file.
    ///
    /// # Errors
    /// Anything but a well-formed .deb of format 2.0.
    pub fn read(file: &mut (impl Read + Seek), deb: &str) -> Result<Layout> {
        let wrong = |why: String| Error::deb(deb, why);
        let io = |e: io::Error| Error::deb(deb, e.to_string());
        let len = file.seek(SeekFrom::End(0)).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let mut magic = [0; 8];
        file.read_exact(&mut magic).map_err(|_| wrong("is too short for a .deb file".to_owned()))?;
        if &magic != MAGIC {
            return Err(wrong("is not a .deb file (no `!<arch>` at its start)".to_owned()));
        }
        let mut position = MAGIC.len() as u64;
        let (mut control, mut data) = (None, None);
        for number in 0.. {
            if position == len || data.is_some() {
                break;
            }
            if number == MAX_MEMBERS {
                return Err(wrong(format!("has more than {MAX_MEMBERS} members")));
            }
            let (name, size) = read_header(file, position, len).map_err(wrong)?;
            let offset = position + HEADER;
            let member = |suffix: &str| {
                let compression = Compression::of(suffix).ok_or_else(|| {
                    wrong(format!("member {name:?}: the compression is none of xz, zst, gz, bz2, lzma"))
                })?;
                Ok::<_, Error>(Member { offset, size, compression })
            };
            if number == 0 {
                check_format(file, &name, size).map_err(wrong)?;
            } else if let (Some(suffix), None) = (name.strip_prefix("control.tar"), control) {
                control = Some(member(suffix)?);
            } else if let (Some(suffix), Some(_)) = (name.strip_prefix("data.tar"), control) {
                data = Some(member(suffix)?);
            } else if !name.starts_with('_') {
                return Err(wrong(format!("member {name:?} is unknown or not in its place")));
            }
            // Members start at even offsets; the padding byte may be missing at the very end.
            position = (offset + size).next_multiple_of(2).min(len);
        }
        match (control, data) {
            (Some(control), Some(data)) => Ok(Layout { control, data }),
            (None, _) => Err(wrong("has no control.tar".to_owned())),
            (_, None) => Err(wrong("has no data.tar".to_owned())),
        }
    }
}

fn read_header(file: &mut (impl Read + Seek), at: u64, len: u64) -> Result<(String, u64), String> {
    let mut header = [0; HEADER as usize];
    file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
    file.read_exact(&mut header).map_err(|_| format!("ends within the member header at byte {at}"))?;
    if &header[58..60] != b"`\n" {
        return Err(format!("the member header at byte {at} is damaged"));
    }
    let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).unwrap_or("\u{fffd}").trim_end();
    let name = text(0..16).trim_end_matches('/').to_owned();
    let size = text(48..58);
    let size: u64 = size.parse().map_err(|_| format!("member {name:?}: the size {size:?} is no number"))?;
    let room = len.saturating_sub(at + HEADER);
    if size > room {
        return Err(format!("member {name:?} claims {size} bytes, and the file has {room} left"));
    }
    Ok((name, size))
}

fn check_format(file: &mut impl Read, name: &str, size: u64) -> Result<(), String> {
    if name != "debian-binary" {
        return Err(format!("starts with the member {name:?}, not debian-binary"));
    }
    if size > MAX_FORMAT {
        return Err(format!("debian-binary has {size} bytes, more than {MAX_FORMAT}"));
    }
    let mut text = Vec::new();
    file.take(size).read_to_end(&mut text).map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&text);
    let version = text.lines().next().unwrap_or_default();
    // A new minor number does not change what is read here (deb(5)).
    let minor =
        version.strip_prefix("2.").filter(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()));
    if minor.is_none() {
        return Err(format!("is of format {version:?}; expected \"2.0\""));
    }
    Ok(())
}

impl Compression {
    fn of(suffix: &str) -> Option<Compression> {
        match suffix {
            "" => Some(Compression::None),
            ".gz" => Some(Compression::Gzip),
            ".xz" => Some(Compression::Xz),
            ".zst" => Some(Compression::Zstd),
            ".bz2" => Some(Compression::Bzip2),
            ".lzma" => Some(Compression::Lzma),
            _ => None,
        }
    }
}

/// Decompresses a member of `file` to `out`; the number of bytes written. What follows the end of the compressed data is not
/// looked at, as dpkg does not.
///
/// # Errors
/// A damaged stream, more memory or output than a package can need, or a write error.
pub fn decompress(file: impl Read + Seek, member: Member, out: &mut dyn Write, deb: &str) -> Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::Start(member.offset)).map_err(|e| Error::deb(deb, e.to_string()))?;
    let mut input = BufReader::with_capacity(128 << 10, file.take(member.size));
    let limit = MAX_UNPACKED.min(SMALL.max(member.size.saturating_mul(MAX_RATIO)));
    let mut unpack = || {
        let mut decoder: Box<dyn Read + '_> = match member.compression {
            Compression::Zstd => Box::new(zstd_decoder(&mut input)?.single_frame()),
            other => decoder(&mut input, other)?,
        };
        match copy(&mut *decoder, limit, out)? {
            0 => Err("one of its archives is empty".to_owned()),
            count => Ok(count),
        }
    };
    unpack().map_err(|why| Error::deb(deb, why))
}

/// Reads what `input` decompresses to.
///
/// # Errors
/// In words: a decoder that cannot be set up.
pub(crate) fn decoder<'i>(input: impl BufRead + 'i, compression: Compression) -> Result<Box<dyn Read + 'i>, String> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(Gzip(Some(GzDecoder::new(input)))),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|e| e.to_string())?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Lzma => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(XZ_MEMORY).map_err(|e| e.to_string())?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Zstd => Box::new(zstd_decoder(input)?),
    })
}

fn zstd_decoder<'i, R: BufRead>(input: R) -> Result<zstd::stream::read::Decoder<'i, R>, String> {
    zstd::stream::read::Decoder::with_buffer(input).map_err(|e| e.to_string())
}

/// gzip data of one piece or several, one after the other (RFC 1952 section 2.2), up to what is none.
struct Gzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.0 {
            let n = decoder.read(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            let mut rest = self.0.take().map(GzDecoder::into_inner);
            if let Some(input) = &mut rest
                && input.fill_buf()?.first() == Some(&0x1f)
            {
                self.0 = rest.map(GzDecoder::new);
            }
        }
        Ok(0)
    }
}

pub(crate) fn copy(decoder: &mut dyn Read, limit: u64, out: &mut dyn Write) -> Result<u64, String> {
    let mut buf = vec![0; 128 << 10];
    let mut count = 0u64;
    loop {
        let n = match decoder.read(&mut buf) {
            Ok(0) => return Ok(count),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(format!("the compressed data is damaged: {e}")),
        };
        count += n as u64;
        if count > limit {
            return Err(format!("decompresses to more than {limit} bytes: taken for a decompression bomb"));
        }
        out.write_all(&buf[..n]).map_err(|e| format!("cannot write what it decompresses to: {e}"))?;
    }
}
