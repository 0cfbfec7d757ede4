//! `autoboot.txt` on the firmware partition: what the Raspberry Pi's own loader starts, and what it tries once when it is told
//! to. An image starts slot a; the updater writes the file anew.

use crate::Slot;

/// Its name there.
pub const NAME: &str = "autoboot.txt";

/// The file that starts `active` and tries the other slot. It has the same length for either.
#[must_use]
pub fn text(active: Slot) -> String {
    let (active, other) = (active.boot_partition(), active.other().boot_partition());
    format!("[all]\ntryboot_a_b=1\nboot_partition={active}\n[tryboot]\nboot_partition={other}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_slot_boots_and_the_other_is_tried() {
        assert_eq!(text(Slot::A), "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n");
        assert_eq!(text(Slot::B), "[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2\n");
    }
}
