//! Tables for the operator's terminal, and its colours.

use std::io::IsTerminal;

/// Whether to use colours: standard output is a terminal and NO_COLOR (no-color.org) is not set.
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A cell and its ANSI colour.
pub struct Cell {
    text: String,
    colour: Option<u8>,
}

pub fn plain(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), colour: None }
}

pub fn good(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), colour: Some(32) }
}

pub fn bad(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), colour: Some(31) }
}

/// Columns as wide as their widest cell, two spaces apart, without trailing spaces.
pub fn render(head: &[&str], rows: &[Vec<Cell>], colours: bool) -> String {
    let mut widths: Vec<usize> = head.iter().map(|text| text.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let mut out = String::new();
    let head: Vec<Cell> = head.iter().map(|text| plain(*text)).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if at + 1 == row.len() { 0 } else { width - cell.text.chars().count() + 2 };
            match cell.colour {
                Some(colour) if colours => line.push_str(&format!("\x1b[{colour}m{}\x1b[0m", cell.text)),
                _ => line.push_str(&cell.text),
            }
            line.push_str(&" ".repeat(gap));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_colour_is_only_used_when_asked_for() {
        let rows = [vec![plain("10"), good("on"), plain("")], vec![plain("3"), bad("off"), plain("x")]];
        assert_eq!(render(&["id", "power", "z"], &rows, false), "id  power  z\n10  on\n3   off    x\n");
        assert!(render(&["id", "power", "z"], &rows, true).contains("\x1b[31moff\x1b[0m"));
    }
}
