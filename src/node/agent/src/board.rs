//! Is there a Pi Stack board, and what may be done with its lines?

use std::fs;
use std::path::Path;

use fruit_contract::agent::config::Board;

/// What the board's HAT memory makes the firmware put into the device tree.
pub const PRODUCT: &str = "Pi stack";

/// Where to look below `/proc`.
const HAT_PRODUCT: &str = "device-tree/hat/product";

/// The product that the device tree names, if there is a HAT; `proc` is `/proc`.
pub fn product(proc: &Path) -> Option<String> {
    let bytes = fs::read(proc.join(HAT_PRODUCT)).ok()?;
    // Strings of a device tree end with a zero byte.
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned())
}

/// Whether to drive the lines.
pub fn drives(board: Board, product: Option<&str>) -> bool {
    match board {
        Board::Auto => product == Some(PRODUCT),
        Board::Force => true,
        Board::None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_board_itself_or_an_order_lets_the_lines_be_driven() {
        for (board, product, expected) in [
            (Board::Auto, Some("Pi stack"), true),
            (Board::Auto, Some("Sense HAT"), false),
            (Board::Auto, None, false),
            (Board::Force, None, true),
            (Board::None, Some("Pi stack"), false),
        ] {
            assert_eq!(drives(board, product), expected, "{board:?} {product:?}");
        }
    }

    #[test]
    fn the_product_is_read_up_to_its_zero_byte() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(product(proc.path()), None);
        fs::create_dir_all(proc.path().join("device-tree/hat")).unwrap();
        fs::write(proc.path().join(HAT_PRODUCT), b"Pi stack\0").unwrap();
        assert_eq!(product(proc.path()).as_deref(), Some(PRODUCT));
    }
}
