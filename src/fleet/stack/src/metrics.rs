//! Stacks in the Prometheus text exposition format, version 0.0.4. A value that could not be read has no sample.

use crate::board::Reading;
use crate::command::Pi;
use crate::status::{BoardStatus, PiStatus, StackStatus};
use fruit_base::prometheus::{self, Text};

pub use fruit_base::prometheus::CONTENT_TYPE;

type BoardValue = fn(&BoardStatus) -> Option<f64>;
type PiValue = fn(&PiStatus) -> Option<f64>;

fn number<T: Clone + Into<f64>>(reading: &Reading<T>) -> Option<f64> {
    reading.as_ref().ok().map(|value| value.clone().into())
}

fn flag(reading: &Reading<bool>) -> Option<f64> {
    reading.as_ref().ok().map(|&on| prometheus::flag(on))
}

const BOARD_METRICS: [(&str, &str, BoardValue); 6] = [
    ("fruit_stack_input_volts", "Voltage of the supply at the board.", |board| number(&board.input_volts)),
    ("fruit_stack_input_amperes", "Current that the board draws.", |board| number(&board.input_amps)),
    ("fruit_stack_input_watts", "Power that the board draws.", |board| number(&board.input_watts)),
    ("fruit_stack_rail_volts", "Voltage of the board's 5 V rail.", |board| number(&board.rail_volts)),
    ("fruit_stack_errors", "Errors in the board's own count.", |board| number(&board.errors)),
    ("fruit_stack_board_up", "Whether the board answers.", |board| Some(prometheus::flag(!board.is_absent()))),
];

const PI_METRICS: [(&str, &str, PiValue); 5] = [
    ("fruit_stack_pi_powered", "Whether the Pi has power.", |pi| flag(&pi.powered)),
    ("fruit_stack_pi_heartbeat", "Whether the board sees the Pi's heartbeat.", |pi| flag(&pi.heartbeat)),
    ("fruit_stack_pi_volts", "Voltage at the Pi.", |pi| number(&pi.volts)),
    ("fruit_stack_pi_amperes", "Current that the Pi draws.", |pi| number(&pi.amps)),
    ("fruit_stack_pi_watts", "Power that the Pi draws.", |pi| number(&pi.watts)),
];

/// The text for these stacks.
pub fn render(stacks: &[StackStatus]) -> String {
    let mut text = Text::default();
    for (name, help, value) in BOARD_METRICS {
        text.family(name, "gauge", help);
        for (stack, board) in boards(stacks) {
            if let Some(value) = value(board) {
                text.sample(name, &[("stack", stack), ("board", &board.board.to_string())], value);
            }
        }
    }
    for (name, help, value) in PI_METRICS {
        text.family(name, "gauge", help);
        for (stack, board) in boards(stacks) {
            for (pi, status) in Pi::BOTH.iter().zip(&board.pis) {
                if let Some(value) = value(status) {
                    let labels = [("stack", stack), ("board", &*board.board.to_string()), ("pi", &*pi.to_string())];
                    text.sample(name, &labels, value);
                }
            }
        }
    }
    line_metrics(&mut text, stacks);
    text.into_string()
}

fn boards(stacks: &[StackStatus]) -> impl Iterator<Item = (&str, &BoardStatus)> {
    stacks.iter().flat_map(|stack| stack.boards.iter().map(|board| (stack.stack.as_str(), board)))
}

fn line_metrics(text: &mut Text, stacks: &[StackStatus]) {
    type Count = fn(&StackStatus) -> u64;
    let counters: [(&str, &str, Count); 5] = [
        ("fruit_stack_line_requests_total", "Requests sent.", |stack| stack.line.requests),
        ("fruit_stack_line_retries_total", "Requests sent again.", |stack| stack.line.retries),
        ("fruit_stack_line_crc_errors_total", "Answers with a bad crc.", |stack| stack.line.crc_errors),
        ("fruit_stack_line_no_answer_total", "Requests without an answer.", |stack| stack.line.no_answer),
        ("fruit_stack_line_broken_answers_total", "Answers cut short.", |stack| stack.line.broken_answers),
    ];
    for (name, help, count) in counters {
        text.family(name, "counter", help);
        for stack in stacks {
            // Counters stay exact as f64 far beyond what 9600 baud can reach.
            text.sample(name, &[("stack", &stack.stack)], count(stack) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::{AskError, LineCounts};

    fn pi() -> PiStatus {
        PiStatus {
            powered: Ok(true),
            heartbeat: Ok(false),
            volts: Ok(5.08),
            amps: Err(AskError::NoAnswer),
            watts: Ok(2.5),
        }
    }

    #[test]
    fn what_could_not_be_read_has_no_sample() {
        let board = BoardStatus {
            board: 3,
            hardware: Ok(crate::convert::Hardware::V3),
            input_volts: Ok(24.0),
            input_amps: Err(AskError::Broken),
            input_watts: Ok(3.0),
            rail_volts: Ok(5.1),
            errors: Ok(7),
            pis: [pi(), pi()],
        };
        let stack = StackStatus { stack: "ra\"ck".into(), boards: vec![board], line: LineCounts::default() };
        let text = render(&[stack]);
        assert!(text.contains("fruit_stack_input_volts{stack=\"ra\\\"ck\",board=\"3\"} 24\n"), "{text}");
        assert!(text.contains("fruit_stack_pi_powered{stack=\"ra\\\"ck\",board=\"3\",pi=\"1\"} 1\n"));
        assert!(text.contains("# TYPE fruit_stack_input_amperes gauge\n"));
        assert!(!text.contains("fruit_stack_input_amperes{") && !text.contains("fruit_stack_pi_amperes{"));
    }
}
