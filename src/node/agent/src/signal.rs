//! Tells the board's order to shut down from noise on the signal line.

use crate::line::Edge;

/// Watches the edges of the signal line for a low pulse that is long enough. Times in nanoseconds of one clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Debounce {
    glitch: u64,
    pulse: Pulse,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pulse {
    /// The line is high, or its pulse was dealt with.
    None,
    /// Low since then, not long enough yet.
    Young(u64),
    /// Long enough by the clock, but the line was high again when it was read: the rising edge, which is on its way,
    /// tells the width.
    Ended(u64),
}

impl Debounce {
    /// A low pulse shorter than `glitch` is noise.
    pub fn new(glitch: u64) -> Debounce {
        Debounce { glitch, pulse: Pulse::None }
    }

    /// Takes an edge with its time; true = the board ordered a shutdown. One pulse orders once.
    pub fn edge(&mut self, edge: Edge, at: u64) -> bool {
        match (edge, self.pulse) {
            (Edge::Falling, _) => {
                self.pulse = if self.glitch == 0 { Pulse::None } else { Pulse::Young(at) };
                self.glitch == 0
            }
            (Edge::Rising, Pulse::Young(since) | Pulse::Ended(since)) => {
                self.pulse = Pulse::None;
                at.saturating_sub(since) >= self.glitch
            }
            (Edge::Rising, Pulse::None) => false,
        }
    }

    /// When to read the line's level for [`Debounce::expire`], if nothing happens before.
    pub fn deadline(&self) -> Option<u64> {
        match self.pulse {
            Pulse::Young(since) => Some(since.saturating_add(self.glitch)),
            Pulse::None | Pulse::Ended(_) => None,
        }
    }

    /// Takes the level (high = true) at `now`, once all edges have been taken; true = the board ordered a shutdown.
    pub fn expire(&mut self, now: u64, level: bool) -> bool {
        match self.pulse {
            Pulse::Young(since) if now >= since.saturating_add(self.glitch) => {
                self.pulse = if level { Pulse::Ended(since) } else { Pulse::None };
                !level
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_low_pulse_is_noise() {
        let mut line = Debounce::new(10);
        assert!(!line.edge(Edge::Falling, 100));
        assert_eq!(line.deadline(), Some(110));
        assert!(!line.expire(109, false));
        assert!(!line.edge(Edge::Rising, 109));
        assert_eq!(line.deadline(), None);
        assert!(!line.expire(200, false));
    }

    #[test]
    fn a_pulse_of_the_full_width_orders_once() {
        let mut line = Debounce::new(10);
        assert!(!line.edge(Edge::Falling, 100));
        assert!(line.expire(110, false));
        assert!(!line.expire(111, false));
        assert!(!line.edge(Edge::Rising, 300));
    }

    #[test]
    fn a_pulse_read_late_counts_by_the_time_of_its_edges() {
        let mut line = Debounce::new(10);
        assert!(!line.edge(Edge::Falling, 100));
        assert!(line.edge(Edge::Rising, 115));
    }

    #[test]
    fn a_pulse_that_ends_while_it_is_looked_at_is_not_lost() {
        let mut line = Debounce::new(10);
        assert!(!line.edge(Edge::Falling, 100));
        assert!(!line.expire(112, true));
        assert_eq!(line.deadline(), None);
        assert!(line.edge(Edge::Rising, 111));
    }

    #[test]
    fn without_a_glitch_width_the_edge_itself_orders() {
        let mut line = Debounce::new(0);
        assert!(line.edge(Edge::Falling, 5));
        assert!(!line.edge(Edge::Rising, 5));
        assert_eq!(line.deadline(), None);
    }

    #[test]
    fn by_default_every_width_that_a_board_can_be_set_to_orders_and_a_spike_does_not() {
        let mut line = Debounce::new(fruit_contract::agent::config::Signal::default().least_pulse());
        // Clocks of board and node differ: 1 ms may be measured as less.
        for (micros, orders) in [(1, false), (300, false), (900, true), (1_000, true), (5_000, true), (255_000, true)] {
            assert!(!line.edge(Edge::Falling, 7_000));
            assert_eq!(line.edge(Edge::Rising, 7_000 + micros * 1_000), orders, "{micros} us");
        }
    }

    proptest! {
        #[test]
        fn any_train_of_pulses_orders_as_often_as_it_has_wide_ones(
            widths in prop::collection::vec((1u64..40, 1u64..40), 0..30),
            looks_at_deadline in any::<bool>(),
        ) {
            let mut line = Debounce::new(10);
            let (mut now, mut orders) = (1_000, 0);
            for (low, high) in &widths {
                orders += u32::from(line.edge(Edge::Falling, now));
                if looks_at_deadline && let Some(at) = line.deadline() && at < now + low {
                    orders += u32::from(line.expire(at, false));
                }
                now += low;
                orders += u32::from(line.edge(Edge::Rising, now));
                now += high;
            }
            prop_assert_eq!(orders as usize, widths.iter().filter(|(low, _)| *low >= 10).count());
        }
    }
}
