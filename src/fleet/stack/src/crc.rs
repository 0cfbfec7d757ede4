//! The bus's check byte: CRC-8 with polynomial 0x31, reflected (0x8C), initial value 0, no final xor. Published as
//! CRC-8/MAXIM-DOW; Maxim application note 27 describes it for 1-Wire devices.

/// The reflected polynomial: x⁸ + x⁵ + x⁴ + 1, lowest bit first.
const POLYNOMIAL: u8 = 0x8C;

const TABLE: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

/// The check byte over `bytes`. A frame followed by its own check byte gives 0.
pub fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| TABLE[usize::from(crc ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value that the catalogue of CRCs gives for CRC-8/MAXIM-DOW.
    #[test]
    fn the_published_check_value_comes_out() {
        assert_eq!(crc8(b"123456789"), 0xA1);
    }

    /// Worked by hand, one bit at a time, for the single byte 0x02 (0000_0010):
    /// 02 → low bit 0 → 01 → low bit 1 → 00 ^ 8C = 8C → 46 → 23 → low bit 1 → 11 ^ 8C = 9D → low bit 1 →
    /// 4E ^ 8C = C2 → 61 → low bit 1 → 30 ^ 8C = BC. Eight shifts: 01, 8C, 46, 23, 9D, C2, 61, BC.
    #[test]
    fn one_byte_worked_by_hand() {
        assert_eq!(crc8(&[0x02]), 0xBC);
    }

    /// 01 → low bit 1 → 00 ^ 8C = 8C → 46 → 23 → 9D → C2 → 61 → BC → 5E.
    #[test]
    fn the_first_table_entry_worked_by_hand() {
        assert_eq!(crc8(&[0x01]), 0x5E);
        assert_eq!(crc8(&[0x00]), 0x00);
        assert_eq!(crc8(&[]), 0x00);
    }

    /// The shift register is linear: table[a ^ b] = table[a] ^ table[b]. With the eight powers of two checked against
    /// the shifts written out below, that fixes all 256 entries.
    #[test]
    fn the_table_is_what_the_eight_shifts_by_hand_say() {
        // Each power of two is one shift behind the one before it, so the table of 0x80 is 8C after a single shift.
        let powers = [0x5E, 0xBC, 0x61, 0xC2, 0x9D, 0x23, 0x46, 0x8C];
        for (bit, expected) in powers.into_iter().enumerate() {
            assert_eq!(TABLE[1 << bit], expected, "table entry {:#04x}", 1 << bit);
        }
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                assert_eq!(TABLE[usize::from(a ^ b)], TABLE[usize::from(a)] ^ TABLE[usize::from(b)]);
            }
        }
    }
}
