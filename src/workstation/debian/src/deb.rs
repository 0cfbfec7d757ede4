//! The .deb container (deb(5)): an `ar` archive of `debian-binary`, `control.tar*` and `data.tar*`.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: u64 = 60;
/// A real one has three.
const MAX_MEMBERS: usize = 16;

/// A decoder's dictionary and tables: `xz -9` needs 65 MiB; more is refused.
const XZ_MEMORY: u64 = 100 << 20;

/// Decompressed bytes of one archive, whatever its size.
const MAX_UNPACKED: u64 = 8 << 30;
/// Packages of text reach 30:1; more than this is a decompression bomb, unless the result is small anyway.
const MAX_RATIO: u64 = 200;
const SMALL: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
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
    /// Finds the members and checks that there is nothing else. `deb` is what messages call the file.
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
            if position == len {
                break;
            }
            if number == MAX_MEMBERS {
                return Err(wrong(format!("has more than {MAX_MEMBERS} members")));
            }
            if data.is_some() {
                return Err(wrong(format!("has {} bytes after data.tar", len - position)));
            }
            let (name, size) = read_header(file, position, len).map_err(wrong)?;
            let offset = position + HEADER;
            let member = |suffix: &str| {
                let compression = Compression::of(suffix)
                    .ok_or_else(|| wrong(format!("member {name:?}: the compression is none of xz, zst, gz")))?;
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
    let mut version = [0; 4];
    if size != version.len() as u64 {
        return Err(format!("debian-binary has {size} bytes; expected 4"));
    }
    file.read_exact(&mut version).map_err(|e| e.to_string())?;
    if &version != b"2.0\n" {
        return Err(format!("is of format {:?}; expected \"2.0\"", String::from_utf8_lossy(&version).trim_end()));
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
            _ => None,
        }
    }
}

/// Decompresses a member of `file` to `out`; the number of bytes written.
///
/// # Errors
/// A damaged stream, something after it, more memory or output than a package can need, or a write error.
pub fn decompress(file: impl Read + Seek, member: Member, out: &mut dyn Write, deb: &str) -> Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::Start(member.offset)).map_err(|e| Error::deb(deb, e.to_string()))?;
    let input = BufReader::with_capacity(128 << 10, file.take(member.size));
    let limit = MAX_UNPACKED.min(SMALL.max(member.size.saturating_mul(MAX_RATIO)));
    decompress_stream(input, member.compression, limit, out).map_err(|why| Error::deb(deb, why))
}

/// Decompresses all of `input`, at most `limit` bytes of output.
///
/// # Errors
/// In words: what is wrong with the stream.
pub(crate) fn decompress_stream(
    mut input: impl BufRead,
    compression: Compression,
    limit: u64,
    out: &mut dyn Write,
) -> Result<u64, String> {
    let count = copy(&mut *decoder(&mut input, compression)?, limit, out)?;
    if !input.fill_buf().map_err(|e| e.to_string())?.is_empty() {
        return Err("has something after the end of its compressed data".to_owned());
    }
    Ok(count)
}

/// Reads what `input` decompresses to.
///
/// # Errors
/// In words: a decoder that cannot be set up.
pub(crate) fn decoder<'i>(input: impl BufRead + 'i, compression: Compression) -> Result<Box<dyn Read + 'i>, String> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::GzDecoder::new(input)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|e| e.to_string())?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input).map_err(|e| e.to_string())?),
    })
}

fn copy(decoder: &mut dyn Read, limit: u64, out: &mut dyn Write) -> Result<u64, String> {
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
