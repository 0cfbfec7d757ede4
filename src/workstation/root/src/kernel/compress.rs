use std::io::Read;

use fruit_image::tree::Content;

use crate::Error;

/// No module is near this size; a small file that claims to unpack to more is refused.
const MAX_MODULE: u64 = 256 << 20;

/// The bytes of a module file, decompressed as its name says (`.xz`, `.zst`, `.gz`, plain).
pub(super) fn plain(path: &str, content: &Content) -> Result<Vec<u8>, Error> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let packed = content.to_vec().map_err(read_error)?;
    let mut out = Vec::new();
    let mut reader: Box<dyn Read> = match path.rsplit('.').next() {
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(packed.as_slice())),
        Some("zst") => Box::new(zstd::stream::read::Decoder::new(packed.as_slice()).map_err(read_error)?),
        Some("gz") => Box::new(flate2::read::GzDecoder::new(packed.as_slice())),
        _ => return Ok(packed),
    };
    (&mut reader).take(MAX_MODULE + 1).read_to_end(&mut out).map_err(read_error)?;
    if out.len() as u64 > MAX_MODULE {
        let what = format!("unpacks to more than {MAX_MODULE} bytes, which no kernel module has");
        return Err(Error::Invalid { path: path.to_owned(), what });
    }
    Ok(out)
}
