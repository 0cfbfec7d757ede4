//! dm-verity: our trees are those of `veritysetup`, and its trees are good to us.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::checker;
use fruit_image::verity::{BLOCK, BadBlock, Options, Params, VerityError, Writer, total_len, verify};
use proptest::prelude::*;

const UUID: &str = "0102030a-0b0c-0d0e-0f10-111213141516";
const UUID_BYTES: [u8; 16] = [1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22];

fn data(blocks: u64) -> Vec<u8> {
    let block =
        |i: u64| (0..BLOCK / 8).flat_map(move |j| (i * 512 + j).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    (0..blocks).flat_map(block).collect()
}

fn salt(len: usize) -> Vec<u8> {
    (0..len).map(|i| i as u8 ^ 0x5a).collect()
}

fn write(path: &Path, base: u64, data: &[u8], salt: &[u8]) -> Params {
    let options = Options { uuid: UUID_BYTES, salt: salt.to_vec() };
    let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    let mut writer = Writer::new(file, base, data.len() as u64, &options).unwrap();
    // Pieces of any length come in, not only whole blocks.
    for piece in data.chunks(1_000_003) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap()
}

fn veritysetup(action: &str, image: &Path, params: Option<&Params>, data_blocks: u64, salt: &str) -> String {
    let hash_offset = format!("--hash-offset={}", data_blocks * BLOCK);
    let path = image.to_str().unwrap();
    match params {
        None => {
            let salt = format!("--salt={salt}");
            let uuid = format!("--uuid={UUID}");
            let blocks = format!("--data-blocks={data_blocks}");
            checker::passes(
                "cryptsetup-bin",
                "veritysetup",
                [action, path, path, &*salt, &*uuid, &*blocks, &*hash_offset],
            )
        }
        Some(params) => {
            let root = params.to_string().split(':').nth(2).unwrap().to_owned();
            checker::passes("cryptsetup-bin", "veritysetup", [action, path, path, &*root, &*hash_offset])
        }
    }
}

#[test]
fn image_and_tree_are_byte_for_byte_those_of_veritysetup() {
    let dir = tempfile::tempdir().unwrap();
    for (blocks, salt_len) in [(1, 32), (2, 0), (127, 32), (128, 16), (129, 256), (128 * 128, 32), (128 * 128 + 1, 32)]
    {
        let (data, salt) = (data(blocks), salt(salt_len));
        let ours = dir.path().join("ours");
        let _ = fs::remove_file(&ours);
        let params = write(&ours, 0, &data, &salt);
        let text = params.to_string();
        let salt_text = text.rsplit(':').next().unwrap();

        let theirs = dir.path().join("theirs");
        fs::write(&theirs, &data).unwrap();
        let said = veritysetup("format", &theirs, None, blocks, salt_text);
        let root = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
        assert!(text.contains(&format!(":{root}:")), "{blocks} blocks: {text} {said}");
        assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "{blocks} blocks, salt of {salt_len}");
        assert_eq!(params.total_len().unwrap(), fs::metadata(&ours).unwrap().len());
        assert_eq!(total_len(blocks * BLOCK).unwrap(), fs::metadata(&ours).unwrap().len());

        veritysetup("verify", &ours, Some(&params), blocks, salt_text);
        assert_eq!(verify(&File::open(&ours).unwrap(), &params).unwrap(), None);
    }
}

#[test]
fn a_length_that_cannot_have_a_tree_is_refused_before_one_is_made() {
    for len in [0, BLOCK - 1, BLOCK + 1, u64::MAX] {
        assert!(matches!(total_len(len), Err(VerityError::DataLen(_))), "{len}");
    }
    assert!(matches!(total_len(u64::MAX / BLOCK * BLOCK), Err(VerityError::TooBig)));
}

#[test]
fn a_changed_byte_anywhere_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let params = write(&path, 0, &data(300), &salt(32));
    let file = File::options().read(true).write(true).open(&path).unwrap();
    // 300 data blocks, the superblock, one block of the top, three below it.
    for (at, expected) in [
        (0, Some(BadBlock::Data(0))),
        (299 * BLOCK + 4095, Some(BadBlock::Data(299))),
        (300 * BLOCK, None), // the kernel is told what the superblock says
        (301 * BLOCK + 5, Some(BadBlock::Hash(301))),
        (304 * BLOCK + 4095, Some(BadBlock::Hash(304))),
    ] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        assert_eq!(verify(&file, &params).unwrap(), expected, "byte {at}");
        if expected.is_some() {
            let root = params.to_string().split(':').nth(2).unwrap().to_owned();
            let offset = format!("--hash-offset={}", 300 * BLOCK);
            let path = path.to_str().unwrap();
            let verdict = checker::run("cryptsetup-bin", "veritysetup", ["verify", path, path, &*root, &*offset]);
            assert!(!verdict.status.success(), "byte {at}");
        }
        file.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(verify(&file, &params).unwrap(), None);
}

#[test]
fn a_partition_inside_a_card_is_written_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let (card, alone) = (dir.path().join("card"), dir.path().join("alone"));
    let data = data(1000);
    fs::write(&card, vec![0xee; 8 << 20]).unwrap();
    let params = write(&card, 1 << 20, &data, &salt(32));
    assert_eq!(write(&alone, 0, &data, &salt(32)), params);
    let (card, alone) = (fs::read(card).unwrap(), fs::read(alone).unwrap());
    let end = (1 << 20) + alone.len();
    assert!(card[1 << 20..end] == alone[..]);
    assert!(card[..1 << 20].iter().chain(&card[end..]).all(|b| *b == 0xee));
}

#[test]
fn lengths_that_were_not_announced_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = |len| Writer::new(File::create(dir.path().join("x")).unwrap(), 0, len, &Options::default());
    assert!(matches!(writer(0), Err(VerityError::DataLen(0))));
    assert!(matches!(writer(4097), Err(VerityError::DataLen(4097))));
    let mut short = writer(8192).unwrap();
    short.write_all(&[0; 4096]).unwrap();
    assert!(matches!(short.finish(), Err(VerityError::Incomplete { written: 4096, expected: 8192 })));
    assert!(writer(4096).unwrap().write_all(&[0; 4097]).is_err());
    let too_long = Options { salt: salt(257), ..Options::default() };
    let refused = Writer::new(File::create(dir.path().join("x")).unwrap(), 0, 4096, &too_long);
    assert!(matches!(refused, Err(VerityError::Salt(257))));
}

#[test]
fn an_image_that_is_cut_off_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let params = write(&path, 0, &data(300), &salt(0));
    let image = fs::read(&path).unwrap();
    assert!(verify(&image[..image.len() - 1].to_vec(), &params).is_err());
    let overlap = Params { hash_start_block: 100, ..params };
    assert!(verify(&image, &overlap).is_err());
}

proptest! {
    #[test]
    fn params_survive_as_text(data_blocks in 1..=1u64 << 51, between in 0..1u64 << 51, root_hash: [u8; 32], salt in proptest::collection::vec(any::<u8>(), 0..=256)) {
        let hash_start_block = data_blocks + between;
        let params = Params { data_blocks, hash_start_block, root_hash, salt };
        prop_assert_eq!(params.to_string().parse::<Params>().unwrap(), params);
    }

    #[test]
    fn any_text_is_params_or_an_error(text in "[0-9a-fé:-]{0,90}") {
        let _ = text.parse::<Params>();
    }

    #[test]
    fn hostile_params_never_panic(data_blocks: u64, hash_start_block: u64, small in 0u64..20) {
        let image = vec![0; 10 * BLOCK as usize];
        let params = Params { data_blocks, hash_start_block, root_hash: [0; 32], salt: vec![] };
        let _ = verify(&image, &params);
        let _ = verify(&image, &Params { data_blocks: small, ..params.clone() });
        let _ = verify(&image, &Params { hash_start_block: small, ..params });
    }
}
