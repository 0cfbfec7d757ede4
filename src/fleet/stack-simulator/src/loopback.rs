//! A simulated stack as a transport, in virtual time: waiting costs nothing and every run is the same.

use super::stack::Stack;
use super::wire::{LineConfig, Wire};
use fruit_stack::transport::Transport;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The master's end of a line to simulated boards within the same program.
#[derive(Debug)]
pub struct Loopback {
    stack: Arc<Mutex<Stack>>,
    wire: Wire,
    now: Duration,
}

impl Loopback {
    pub fn new(stack: Arc<Mutex<Stack>>, line: LineConfig) -> Self {
        Self { stack, wire: Wire::new(line), now: Duration::ZERO }
    }

    fn advance(&mut self, to: Duration) {
        loop {
            let next = self.wire.next_due().filter(|&next| next > self.now && next <= to);
            self.now = next.unwrap_or(to.max(self.now));
            let mut stack = lock(&self.stack);
            stack.advance_to(self.now);
            let stray = stack.take_stray();
            self.wire.disturb(self.now, &stray);
            self.wire.end_broken(&mut stack, self.now);
            if next.is_none() {
                return;
            }
        }
    }
}

/// A panic while the lock was held leaves a stack that is still whole: it is plain data without invariants across it.
pub(super) fn lock(stack: &Mutex<Stack>) -> MutexGuard<'_, Stack> {
    stack.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transport for Loopback {
    fn name(&self) -> &str {
        "simulated stack"
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.advance(self.now);
        self.wire.deliver(&mut lock(&self.stack), self.now, bytes);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let deadline = self.now + timeout;
        loop {
            self.advance(self.now);
            let due = self.wire.take_due(self.now);
            if !due.is_empty() {
                let count = due.len().min(buffer.len());
                buffer[..count].copy_from_slice(&due[..count]);
                return Ok(count);
            }
            if self.now >= deadline {
                return Ok(0);
            }
            let next = self.wire.next_due().map_or(deadline, |next| next.clamp(self.now, deadline));
            self.advance(next);
        }
    }

    fn discard(&mut self) -> io::Result<()> {
        self.advance(self.now);
        self.wire.take_due(self.now);
        Ok(())
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn wait(&mut self, time: Duration) {
        self.advance(self.now + time);
    }
}
