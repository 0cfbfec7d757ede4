//! What U-Boot reads: script images (legacy image format, U-Boot's include/image.h) and the saved environment
//! (include/env_internal.h). Byte for byte what mkimage and mkenvimage make.

/// First word of a legacy image (`IH_MAGIC`).
const MAGIC: u32 = 0x2705_1956;
/// Bytes of the header (`struct legacy_img_hdr`).
const HEADER: usize = 64;
/// Bytes of the name in it (`IH_NMLEN`).
const NAME: usize = 32;
const OS_LINUX: u8 = 5; // IH_OS_LINUX, what mkimage puts when nothing is said
const TYPE_SCRIPT: u8 = 6; // IH_TYPE_SCRIPT
/// Largest script or environment read.
const MAX: usize = 1 << 20;
/// What mkenvimage fills the environment up with.
const ENV_PADDING: u8 = 0xFF;

#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum UbootError {
    #[error("U-Boot script image: {0}")]
    Script(String),
    #[error("U-Boot environment: {0}")]
    Environment(String),
}

/// Processor of a script image. U-Boot does not compare it for scripts, but shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Architecture {
    Arm,
    Arm64,
    X86_64,
}

impl Architecture {
    /// `IH_ARCH_…`
    fn code(self) -> u8 {
        match self {
            Architecture::Arm => 2,
            Architecture::Arm64 => 22,
            Architecture::X86_64 => 24,
        }
    }
}

/// A script that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    pub name: String,
    /// Seconds since 1970-01-01 UTC.
    pub time: u32,
    pub text: String,
}

/// A script image, as `mkimage -T script -C none` makes it. `time` is in seconds since 1970-01-01 UTC.
///
/// # Errors
/// A script of 1 MiB or more, a name longer than 32 bytes.
pub fn script(architecture: Architecture, name: &str, time: u32, text: &str) -> Result<Vec<u8>, UbootError> {
    if text.len() >= MAX {
        return Err(UbootError::Script(format!("{} bytes of script, expected less than {MAX}", text.len())));
    }
    if name.len() > NAME {
        return Err(UbootError::Script(format!("name {name:?} has {} bytes, expected up to {NAME}", name.len())));
    }
    // The data of a script is a table of the sizes of its parts, ended by 0; then the parts, here one.
    let mut data = (text.len() as u32).to_be_bytes().to_vec();
    data.extend(0u32.to_be_bytes());
    data.extend(text.as_bytes());
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC.to_be_bytes());
    header[8..12].copy_from_slice(&time.to_be_bytes());
    header[12..16].copy_from_slice(&(data.len() as u32).to_be_bytes());
    header[24..28].copy_from_slice(&crc32fast::hash(&data).to_be_bytes());
    header[28..32].copy_from_slice(&[OS_LINUX, architecture.code(), TYPE_SCRIPT, 0]);
    header[32..32 + name.len()].copy_from_slice(name.as_bytes());
    let sum = crc32fast::hash(&header); // with its own field zero
    header[4..8].copy_from_slice(&sum.to_be_bytes());
    Ok([&header[..], &data].concat())
}

/// Reads a script image, which may be damaged or hostile. Bytes behind it are left alone.
///
/// # Errors
/// What is wrong with it.
pub fn parse_script(image: &[u8]) -> Result<Script, UbootError> {
    let wrong = |why: String| UbootError::Script(why);
    let mut header = [0; HEADER];
    header.copy_from_slice(
        image.get(..HEADER).ok_or_else(|| wrong(format!("{} bytes, expected {HEADER}", image.len())))?,
    );
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (magic, header_sum, time, size, data_sum) = (word(0), word(4), word(8), word(12) as usize, word(24));
    if magic != MAGIC {
        return Err(wrong(format!("starts with {magic:08x}, expected {MAGIC:08x}")));
    }
    header[4..8].fill(0);
    let computed = crc32fast::hash(&header);
    if computed != header_sum {
        return Err(wrong(format!("header checksum {header_sum:08x}, computed {computed:08x}")));
    }
    if header[30] != TYPE_SCRIPT || header[31] != 0 {
        return Err(wrong(format!("type {} compression {}, expected {TYPE_SCRIPT} and 0", header[30], header[31])));
    }
    let data = image[HEADER..].get(..size).filter(|d| d.len() <= MAX + 8);
    let data = data.ok_or_else(|| wrong(format!("says {size} bytes, has {}", image.len() - HEADER)))?;
    let computed = crc32fast::hash(data);
    if computed != data_sum {
        return Err(wrong(format!("checksum {data_sum:08x}, computed {computed:08x}")));
    }
    let table = data.get(..8).ok_or_else(|| wrong("no table of sizes".to_owned()))?;
    let len = u32::from_be_bytes([table[0], table[1], table[2], table[3]]) as usize;
    if table[4..] != [0; 4] {
        return Err(wrong("more than one script in it".to_owned()));
    }
    let text = data[8..].get(..len).ok_or_else(|| wrong(format!("script of {len} bytes in {}", data.len() - 8)))?;
    let text = std::str::from_utf8(text).map_err(|e| wrong(format!("not UTF-8: {e}")))?;
    let end = header[32..].iter().position(|b| *b == 0).unwrap_or(NAME);
    let name = String::from_utf8_lossy(&header[32..32 + end]).into_owned();
    Ok(Script { name, time, text: text.to_owned() })
}

/// A saved environment of `size` bytes (`CONFIG_ENV_SIZE`), as `mkenvimage -s` makes it: CRC-32 in the byte order of the
/// processor (little-endian on all of ours), `name=value` pairs each ended by NUL, one more NUL.
///
/// # Errors
/// Names or values that cannot be stored, or too many of them.
pub fn environment<'a>(
    size: usize,
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<u8>, UbootError> {
    let mut data = Vec::new();
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0', '\n']) || value.contains('\0') {
            return Err(UbootError::Environment(format!("variable {name:?} or its value cannot be stored")));
        }
        data.extend(name.bytes().chain([b'=']).chain(value.bytes()).chain([0]));
    }
    data.push(0);
    let room = size.saturating_sub(4);
    if data.len() > room {
        return Err(UbootError::Environment(format!("{} bytes of variables, room for {room}", data.len())));
    }
    data.resize(room, ENV_PADDING);
    Ok([&crc32fast::hash(&data).to_le_bytes()[..], &data].concat())
}

/// Reads a saved environment, which may be damaged or hostile; `image` is the whole of it, padding included.
///
/// # Errors
/// What is wrong with it.
pub fn parse_environment(image: &[u8]) -> Result<Vec<(String, String)>, UbootError> {
    let wrong = |why: String| UbootError::Environment(why);
    let (sum, data) = image.split_first_chunk::<4>().ok_or_else(|| wrong("less than 4 bytes".to_owned()))?;
    if data.len() > MAX {
        return Err(wrong(format!("{} bytes, expected up to {MAX}", data.len())));
    }
    let (stored, computed) = (u32::from_le_bytes(*sum), crc32fast::hash(data));
    if stored != computed {
        return Err(wrong(format!("checksum {stored:08x}, computed {computed:08x}")));
    }
    data.split(|b| *b == 0)
        .take_while(|pair| !pair.is_empty())
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|e| wrong(format!("not UTF-8: {e}")))?;
            let (name, value) = pair.split_once('=').ok_or_else(|| wrong(format!("{pair:?} has no `=`")))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}
