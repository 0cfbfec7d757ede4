//! The timing of the line between a master and the boards.

use super::board::BUFFER;
use super::stack::Stack;
use fruit_stack::frame::{self, BITS_PER_BYTE, RequestScan};
use std::collections::VecDeque;
use std::time::Duration;

/// How the line behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineConfig {
    /// Bits per second that bytes are paced at; `None` delivers them at once.
    pub baud: Option<u32>,
    /// What a board takes from the end of a request to the start of its answer.
    pub answer_delay: Duration,
    /// Silence that ends a request which is not whole. A pseudo-terminal or a TCP connection may deliver the bytes of
    /// one request with pauses that no wire has, so this is longer than a board's own limit would be.
    pub gap: Duration,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self { baud: Some(frame::BAUD), answer_delay: Duration::from_millis(5), gap: Duration::from_millis(50) }
    }
}

impl LineConfig {
    /// A line without delays, for tests of what is said rather than when.
    pub fn instant() -> Self {
        Self { baud: None, answer_delay: Duration::ZERO, ..Self::default() }
    }

    fn byte(&self) -> Duration {
        match self.baud {
            Some(baud) if baud > 0 => Duration::from_secs(1) * BITS_PER_BYTE / baud,
            _ => Duration::ZERO,
        }
    }
}

/// One master's end of the line. Times are of the line, since any fixed start.
#[derive(Debug)]
pub struct Wire {
    config: LineConfig,
    received: Vec<u8>,
    /// When the first byte of `received` began, and when the latest came in.
    began: Duration,
    latest: Duration,
    out: VecDeque<(Duration, u8)>,
    free_at: Duration,
}

impl Wire {
    pub fn new(config: LineConfig) -> Self {
        Self {
            config,
            received: Vec::new(),
            began: Duration::ZERO,
            latest: Duration::ZERO,
            out: VecDeque::new(),
            free_at: Duration::ZERO,
        }
    }

    /// Bytes from the master, begun at `now`.
    pub fn deliver(&mut self, stack: &mut Stack, now: Duration, bytes: &[u8]) {
        self.end_broken(stack, now);
        for &byte in bytes {
            if self.received.is_empty() {
                self.began = self.latest.max(now);
            }
            // One more than the buffer holds is enough to know that there were too many.
            if self.received.len() <= BUFFER {
                self.received.push(byte);
            }
            let on_wire = self.began + self.config.byte() * self.received.len() as u32;
            self.latest = on_wire.max(now);
            if let RequestScan::Whole { .. } = frame::scan_request(&self.received, BUFFER) {
                let request = std::mem::take(&mut self.received);
                let answer = stack.hear(&request);
                self.answer(self.latest + self.config.answer_delay + answer.late, &answer.bytes);
            }
        }
    }

    /// Ends a request that silence has cut short.
    pub fn end_broken(&mut self, stack: &mut Stack, now: Duration) {
        if !self.received.is_empty() && now >= self.latest + self.config.gap {
            let request = std::mem::take(&mut self.received);
            let answer = stack.hear(&request);
            self.answer(now + self.config.answer_delay + answer.late, &answer.bytes);
        }
    }

    /// Puts bytes on the line that nobody asked for.
    pub fn disturb(&mut self, now: Duration, bytes: &[u8]) {
        self.answer(now, bytes);
    }

    fn answer(&mut self, at: Duration, bytes: &[u8]) {
        let mut at = at.max(self.free_at);
        for &byte in bytes {
            at += self.config.byte();
            self.out.push_back((at, byte));
        }
        self.free_at = at;
    }

    /// The bytes whose last bit has reached the master by `now`.
    pub fn take_due(&mut self, now: Duration) -> Vec<u8> {
        let due = self.out.iter().take_while(|(at, _)| *at <= now).count();
        self.out.drain(..due).map(|(_, byte)| byte).collect()
    }

    /// When the line next has something to do.
    pub fn next_due(&self) -> Option<Duration> {
        let gap = (!self.received.is_empty()).then(|| self.latest + self.config.gap);
        gap.into_iter().chain(self.out.front().map(|&(at, _)| at)).min()
    }
}
