//! How long a full status of 16 boards with two Pis each takes at 9600 baud, compared with the time that its bytes need
//! on the wire plus the boards' answer delay. The boards are simulated behind a pseudo-terminal and pace every byte.

#![allow(clippy::print_stdout)] // a benchmark tells what it measured

use fruit_stack::master::{Master, Timing, on_wire};
use fruit_stack::status::read_board;
use fruit_stack::transport::{self, Port};
use fruit_stack_simulator::{Endpoints, LineConfig, Simulator, StackConfig};
use std::time::{Duration, Instant};

const BOARDS: u8 = 16;
const RUNS: usize = 3;

fn main() {
    for delay in [5, 0, 20].map(Duration::from_millis) {
        for _ in 0..RUNS {
            println!("{}", measured(delay));
        }
    }
}

fn measured(answer_delay: Duration) -> String {
    let endpoints = Endpoints { line: LineConfig { answer_delay, ..LineConfig::default() }, ..Endpoints::default() };
    let simulator = Simulator::start(&StackConfig::with_ids(0..BOARDS), &endpoints).expect("a simulated stack");
    let port = Port::Device(simulator.pty().expect("it has a pseudo-terminal").to_owned());
    let mut master = Master::new(transport::open(&port).expect("the pseudo-terminal"), Timing::default());
    let start = Instant::now();
    for board in 0..BOARDS {
        let status = read_board(&mut master, board, None);
        assert!(status.failures().is_empty(), "{status:?}");
    }
    let taken = start.elapsed();
    let counts = master.counts();
    let bytes = (counts.bytes_sent + counts.bytes_received) as usize;
    let least = on_wire(bytes) + answer_delay * counts.answers as u32;
    format!(
        "status of {BOARDS} boards, answer delay {:2} ms: {:.3} s for {bytes} bytes in {} exchanges; least {:.3} s; ratio {:.3} (limit 1.3)",
        answer_delay.as_millis(),
        taken.as_secs_f64(),
        counts.answers,
        least.as_secs_f64(),
        taken.as_secs_f64() / least.as_secs_f64()
    )
}
