//! The account as bytes: one record of a fixed size with a sequence number and a checksum.
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 4 | magic `FAA1` |
//! | 4 | 4 | sequence number |
//! | 8 | 4 | boots |
//! | 12 | 16 | id of this boot |
//! | 28 | 1 | how this boot ends, 255 = unknown |
//! | 29 | 1 | how the previous one ended, 255 = unknown |
//! | 32 | 72 | this boot, previous boot, sum of earlier boots: uptime, beats given, beats withheld, 8 bytes each |
//! | 104 | 20 | endings of all boots, 4 bytes each |
//! | 128 | 48 | withheld beats by condition, 8 bytes each |
//! | 176 | 20 | last withholding: boot (0 = never), time (8), conditions, length of the text (4 bytes each) |
//! | 196 | 120 | its text, UTF-8 |
//! | 508 | 4 | CRC-32 (IEEE) of the bytes before |
//!
//! Numbers are little-endian; bytes not named are zero.

use fruit_base::le::{u32_at, u64_at};

use super::{Account, Boot, DETAIL_MAX, Ending, Withholding};
use crate::condition::{Condition, Conditions};

/// Bytes of a record: one sector, the smallest piece that a card writes as a whole.
pub const SIZE: usize = 512;

const MAGIC: &[u8; 4] = b"FAA1";
const SEQUENCE: usize = 4;
const BOOTS: usize = 8;
const BOOT_ID: usize = 12;
const ENDING: usize = 28;
const PREVIOUS_ENDING: usize = 29;
const NUMBERS: usize = 32;
const ENDINGS: usize = 104;
const WITHHELD_FOR: usize = 128;
const LAST_BOOT: usize = 176;
const LAST_AT: usize = 180;
const LAST_CONDITIONS: usize = 188;
const LAST_LENGTH: usize = 192;
const LAST_DETAIL: usize = 196;
const CHECKSUM: usize = SIZE - 4;
const UNKNOWN: u8 = 255;

fn put32(record: &mut [u8; SIZE], at: usize, value: u32) {
    record[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(record: &mut [u8; SIZE], at: usize, value: u64) {
    record[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// The record of `account`.
pub fn encode(account: &Account, sequence: u32) -> [u8; SIZE] {
    let mut record = [0; SIZE];
    record[..4].copy_from_slice(MAGIC);
    put32(&mut record, SEQUENCE, sequence);
    put32(&mut record, BOOTS, account.boots);
    record[BOOT_ID..BOOT_ID + 16].copy_from_slice(&account.boot_id);
    record[ENDING] = account.ending.map_or(UNKNOWN, |ending| ending as u8);
    record[PREVIOUS_ENDING] = account.previous_ending.map_or(UNKNOWN, |ending| ending as u8);
    for (index, boot) in [account.current, account.previous, account.earlier].into_iter().enumerate() {
        for (part, value) in [boot.uptime, boot.beats_given, boot.beats_withheld].into_iter().enumerate() {
            put64(&mut record, NUMBERS + 24 * index + 8 * part, value);
        }
    }
    for (index, count) in account.endings.into_iter().enumerate() {
        put32(&mut record, ENDINGS + 4 * index, count);
    }
    for (index, count) in account.withheld_for.into_iter().enumerate() {
        put64(&mut record, WITHHELD_FOR + 8 * index, count);
    }
    if let Some(last) = &account.last_withholding {
        // The account keeps its text below the limit.
        let detail = &last.detail.as_bytes()[..last.detail.len().min(DETAIL_MAX)];
        put32(&mut record, LAST_BOOT, last.boot);
        put64(&mut record, LAST_AT, last.at);
        put32(&mut record, LAST_CONDITIONS, last.conditions.bits());
        put32(&mut record, LAST_LENGTH, detail.len() as u32);
        record[LAST_DETAIL..LAST_DETAIL + detail.len()].copy_from_slice(detail);
    }
    let checksum = crc32fast::hash(&record[..CHECKSUM]);
    put32(&mut record, CHECKSUM, checksum);
    record
}

/// The account in a record and its sequence number; `None` if the bytes are not a whole record.
pub fn decode(bytes: &[u8]) -> Option<(Account, u32)> {
    let record: &[u8; SIZE] = bytes.try_into().ok()?;
    if &record[..4] != MAGIC || crc32fast::hash(&record[..CHECKSUM]) != u32_at(record, CHECKSUM) {
        return None;
    }
    let boot = |index: usize| {
        let at = NUMBERS + 24 * index;
        Boot {
            uptime: u64_at(record, at),
            beats_given: u64_at(record, at + 8),
            beats_withheld: u64_at(record, at + 16),
        }
    };
    let mut account = Account {
        boots: u32_at(record, BOOTS),
        ending: Ending::from_number(record[ENDING]),
        previous_ending: Ending::from_number(record[PREVIOUS_ENDING]),
        current: boot(0),
        previous: boot(1),
        earlier: boot(2),
        ..Account::default()
    };
    account.boot_id.copy_from_slice(&record[BOOT_ID..BOOT_ID + 16]);
    for index in 0..Ending::COUNT {
        account.endings[index] = u32_at(record, ENDINGS + 4 * index);
    }
    for index in 0..Condition::COUNT {
        account.withheld_for[index] = u64_at(record, WITHHELD_FOR + 8 * index);
    }
    let length = usize::try_from(u32_at(record, LAST_LENGTH)).ok().filter(|length| *length <= DETAIL_MAX)?;
    if u32_at(record, LAST_BOOT) > 0 {
        account.last_withholding = Some(Withholding {
            boot: u32_at(record, LAST_BOOT),
            at: u64_at(record, LAST_AT),
            conditions: Conditions::from_bits(u32_at(record, LAST_CONDITIONS)),
            detail: std::str::from_utf8(&record[LAST_DETAIL..LAST_DETAIL + length]).ok()?.to_owned(),
        });
    }
    Some((account, u32_at(record, SEQUENCE)))
}
