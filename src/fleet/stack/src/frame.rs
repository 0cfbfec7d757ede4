//! Frames on the bus, and how both ends find them in what the line delivers.
//!
//! A request is `command, board id, length, arguments…, crc`; an answer is `status, 0xFF, length, data…, crc`. `length`
//! counts everything but the crc. No frame carries a start mark, so a reader tells a frame by its first three bytes
//! and its crc, and the ends of a broken one by silence.

use crate::command::{Command, Shape, Value};
use crate::crc::crc8;
use crate::error_code::ErrorCode;

/// The master's address, second byte of every answer. No board can be asked under it.
pub const MASTER: u8 = 0xFF;
/// Command or status, address, length.
pub const HEADER: usize = 3;
/// Status byte of an answer that did what was asked.
pub const STATUS_OK: u8 = 0x00;
/// Status byte of an answer that carries an error code.
pub const STATUS_ERROR: u8 = 0x01;
/// Bits on the wire per byte: start bit, eight data bits, stop bit (8N1).
pub const BITS_PER_BYTE: u32 = 10;
/// The bus's rate in bits per second.
pub const BAUD: u32 = 9600;

/// The bytes of a request.
pub fn request(board: u8, command: &Command) -> Vec<u8> {
    // A command has at most three arguments, so the length fits.
    sealed(command.opcode(), board, &command.arguments())
}

/// The bytes of an answer: the value asked for, or an error code.
///
/// # Errors
/// 23 (answer does not fit) when the value has more bytes than a length byte can count.
pub fn answer(result: &Result<Value, ErrorCode>) -> Result<Vec<u8>, ErrorCode> {
    let (status, data) = match result {
        Ok(value) => (STATUS_OK, value.to_bytes()),
        Err(code) => (STATUS_ERROR, vec![code.0]),
    };
    if data.len() > usize::from(u8::MAX) - HEADER {
        return Err(ErrorCode::ANSWER_DOES_NOT_FIT);
    }
    Ok(sealed(status, MASTER, &data))
}

fn sealed(first: u8, address: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, address, (HEADER + rest.len()) as u8];
    bytes.extend_from_slice(rest);
    bytes.push(crc8(&bytes));
    bytes
}

/// What a master sees in the bytes that have come in since its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerScan {
    /// Nothing is wrong yet; more bytes are needed.
    Incomplete,
    /// A whole answer, and how many bytes before it were no part of one.
    Complete { result: Result<Value, ErrorCode>, skipped: usize },
    /// A whole answer whose crc does not fit.
    Crc { expected: u8, found: u8 },
    /// The crc fits but the data cannot be what was asked for.
    Impossible,
}

/// Looks for the answer to a command in `received`.
///
/// Some adapters hand the master its own request back; an exact copy of `request` at the start is passed over. So is
/// what cannot be the start of an answer, since a line that changes direction likes to deliver a byte or two of noise.
/// The first thing that has the form of an answer is taken for it, whatever follows: with an 8-bit crc, a reader that
/// goes on searching finds an answer in any noise if it is long enough.
pub fn scan_answer(request: &[u8], shape: Shape, received: &[u8]) -> AnswerScan {
    let echo = request.len().min(received.len());
    let start = if received[..echo] == request[..echo] {
        if echo < request.len() {
            return AnswerScan::Incomplete;
        }
        echo
    } else {
        0
    };
    let bytes = &received[start..];
    for at in 0..bytes.len() {
        match answer_at(&bytes[at..], shape) {
            Start::Not => {}
            Start::Partial => return AnswerScan::Incomplete,
            Start::Whole(AnswerScan::Complete { result, .. }) => return AnswerScan::Complete { result, skipped: at },
            Start::Whole(broken) => return broken,
        }
    }
    AnswerScan::Incomplete
}

enum Start {
    Not,
    Partial,
    Whole(AnswerScan),
}

fn answer_at(bytes: &[u8], shape: Shape) -> Start {
    let Some(&status) = bytes.first() else { return Start::Partial };
    if status != STATUS_OK && status != STATUS_ERROR || bytes.get(1).is_some_and(|&address| address != MASTER) {
        return Start::Not;
    }
    let Some(&length) = bytes.get(2) else { return Start::Partial };
    let length = usize::from(length);
    let possible = match status {
        STATUS_OK => length >= HEADER && shape.allows(length - HEADER),
        _ => length == HEADER + 1,
    };
    if !possible {
        return Start::Not;
    }
    let Some(&found) = bytes.get(length) else { return Start::Partial };
    let expected = crc8(&bytes[..length]);
    if expected != found {
        return Start::Whole(AnswerScan::Crc { expected, found });
    }
    let data = &bytes[HEADER..length];
    let result = match status {
        STATUS_OK => match shape.value(data) {
            Some(value) => Ok(value),
            None => return Start::Whole(AnswerScan::Impossible),
        },
        _ => Err(ErrorCode(data[0])),
    };
    Start::Whole(AnswerScan::Complete { result, skipped: 0 })
}

/// What a board sees in the bytes that have come in since the line was last silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestScan<'a> {
    /// The frame, if it is one, is not at its end. Silence now is an error: see [`broken_request`].
    Incomplete,
    /// As many bytes as the length byte announces, and `used` of the input.
    Whole { opcode: u8, board: u8, arguments: &'a [u8], crc_fits: bool, used: usize },
}

/// Looks for a request at the start of `received`. `capacity` is the size of the board's receive buffer.
///
/// A length byte that no frame can have (below 3, or beyond the buffer) never ends the frame: only silence does, as
/// the board has no other way to find the next one.
pub fn scan_request(received: &[u8], capacity: usize) -> RequestScan<'_> {
    let &[opcode, board, length, ..] = received else { return RequestScan::Incomplete };
    let length = usize::from(length);
    if length < HEADER || length + 1 > capacity || received.len() <= length {
        return RequestScan::Incomplete;
    }
    RequestScan::Whole {
        opcode,
        board,
        arguments: &received[HEADER..length],
        crc_fits: crc8(&received[..length]) == received[length],
        used: length + 1,
    }
}

/// What is wrong with bytes that the line fell silent after and that are no whole request, and the board that they
/// name. `None` for a single byte, which is noise: it names no board.
pub fn broken_request(received: &[u8], capacity: usize) -> Option<(u8, ErrorCode)> {
    let board = *received.get(1)?;
    let code = match received.get(2) {
        None => ErrorCode::TOO_SHORT,
        Some(&length) if usize::from(length) < HEADER => ErrorCode::TOO_SHORT,
        Some(_) if received.len() > capacity => ErrorCode::TOO_MANY_BYTES,
        Some(_) => ErrorCode::SHORTER_THAN_ITS_LENGTH,
    };
    Some((board, code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Pi, Timer};
    use proptest::prelude::*;

    /// The crc of each vector, worked with table steps crc' = T[crc ^ byte]; the entries of T used here are themselves
    /// xors of the eight worked in `crc.rs`: T[01]=5E T[02]=BC T[04]=61 T[08]=C2 T[10]=9D T[20]=23 T[40]=46 T[80]=8C.
    #[test]
    fn requests_are_the_bytes_worked_by_hand() {
        // Software version of board 0: 02 00 03.
        //   T[00^02] = BC
        //   T[BC^00] = T[80^20^10^08^04] = 8C^23^9D^C2^61 = 91
        //   T[91^03] = T[92] = T[80^10^02] = 8C^9D^BC = AD
        assert_eq!(request(0, &Command::SoftwareVersion), [0x02, 0x00, 0x03, 0xAD]);
        // Power Pi 1 of board 3 on: 11 03 04 01.
        //   T[11] = T[10^01] = 9D^5E = C3
        //   T[C3^03] = T[C0] = 8C^46 = CA
        //   T[CA^04] = T[CE] = T[80^40^08^04^02] = 8C^46^C2^61^BC = D5
        //   T[D5^01] = T[D4] = T[80^40^10^04] = 8C^46^9D^61 = 36
        assert_eq!(request(3, &Command::On(Pi::One)), [0x11, 0x03, 0x04, 0x01, 0x36]);
        // Heartbeat timeout of Pi 0 of board 0x15 to 30 s: 15 15 05 00 1E.
        //   T[15] = T[10^04^01] = 9D^61^5E = A2
        //   T[A2^15] = T[B7] = T[80^20^10^04^02^01] = 8C^23^9D^61^BC^5E = B1
        //   T[B1^05] = T[B4] = T[80^20^10^04] = 8C^23^9D^61 = 53
        //   T[53^00] = T[40^10^02^01] = 46^9D^BC^5E = 39
        //   T[39^1E] = T[27] = T[20^04^02^01] = 23^61^BC^5E = A0
        let set = Command::SetTimer(Timer::HeartbeatTimeout, Pi::Zero, 30);
        assert_eq!(request(0x15, &set), [0x15, 0x15, 0x05, 0x00, 0x1E, 0xA0]);
    }

    #[test]
    fn answers_are_the_bytes_worked_by_hand() {
        // Done, nothing to say: 00 FF 03.
        //   T[00] = 00
        //   T[FF] = 5E^BC^61^C2^9D^23^46^8C = 35
        //   T[35^03] = T[36] = T[20^10^04^02] = 23^9D^61^BC = 63
        assert_eq!(answer(&Ok(Value::Nothing)), Ok(vec![0x00, 0xFF, 0x03, 0x63]));
        // An input voltage of 0xC7CE (24.04 V): 00 FF 05 C7 CE.
        //   T[35^05] = T[30] = 23^9D = BE
        //   T[BE^C7] = T[79] = T[40^20^10^08^01] = 46^23^9D^C2^5E = 64
        //   T[64^CE] = T[AA] = T[80^20^08^02] = 8C^23^C2^BC = D1
        assert_eq!(answer(&Ok(Value::Word(0xC7CE))), Ok(vec![0x00, 0xFF, 0x05, 0xC7, 0xCE, 0xD1]));
        // Invalid Pi id: 01 FF 04 14.
        //   T[01] = 5E
        //   T[5E^FF] = T[A1] = T[80^20^01] = 8C^23^5E = F1
        //   T[F1^04] = T[F5] = T[80^40^20^10^04^01] = 8C^46^23^9D^61^5E = 4B
        //   T[4B^14] = T[5F] = T[40^10^08^04^02^01] = 46^9D^C2^61^BC^5E = 9A
        assert_eq!(answer(&Err(ErrorCode::INVALID_PI)), Ok(vec![0x01, 0xFF, 0x04, 0x14, 0x9A]));
    }

    const ASK: Command = Command::InputVoltage;

    fn scan(received: &[u8]) -> AnswerScan {
        scan_answer(&request(1, &ASK), ASK.answer(), received)
    }

    #[test]
    fn an_answer_is_found_behind_an_echo_and_behind_noise() {
        let good = answer(&Ok(Value::Word(0x1234))).unwrap();
        let whole = |skipped| AnswerScan::Complete { result: Ok(Value::Word(0x1234)), skipped };
        assert_eq!(scan(&good), whole(0));
        assert_eq!(scan(&[request(1, &ASK), good.clone()].concat()), whole(0));
        assert_eq!(scan(&[&[0xFF, 0x00][..], &good].concat()), whole(2));
        assert_eq!(scan(&good[..5]), AnswerScan::Incomplete);
        assert_eq!(scan(&request(1, &ASK)), AnswerScan::Incomplete);
    }

    #[test]
    fn every_single_bit_error_is_noticed() {
        let good = answer(&Ok(Value::Word(0x1234))).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(scan(&bad), AnswerScan::Complete { .. }), "bit {bit}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_for_its_length_byte_is_refused() {
        assert_eq!(answer(&Ok(Value::Bytes(vec![0; 253]))), Err(ErrorCode::ANSWER_DOES_NOT_FIT));
        assert!(answer(&Ok(Value::Bytes(vec![0; 252]))).is_ok());
    }

    #[test]
    fn silence_in_the_middle_of_a_request_has_a_code() {
        assert_eq!(broken_request(&[], 64), None);
        assert_eq!(broken_request(&[2], 64), None);
        assert_eq!(broken_request(&[2, 5], 64), Some((5, ErrorCode::TOO_SHORT)));
        assert_eq!(broken_request(&[2, 5, 2], 64), Some((5, ErrorCode::TOO_SHORT)));
        assert_eq!(broken_request(&[2, 5, 3], 64), Some((5, ErrorCode::SHORTER_THAN_ITS_LENGTH)));
        assert_eq!(
            broken_request(&[9; 65], 64),
            Some((9, ErrorCode::SHORTER_THAN_ITS_LENGTH)).map(|(b, _)| (b, ErrorCode::TOO_MANY_BYTES))
        );
    }

    fn any_command() -> impl Strategy<Value = Command> {
        prop::sample::select(Command::examples())
    }

    proptest! {
        #[test]
        fn any_request_reads_back(board: u8, command in any_command(), tail: Vec<u8>) {
            let bytes = request(board, &command);
            let input = [bytes.clone(), tail].concat();
            let RequestScan::Whole { opcode, board: to, arguments, crc_fits, used } = scan_request(&input, 64) else {
                return Err(TestCaseError::fail("not whole"));
            };
            prop_assert_eq!((to, crc_fits, used), (board, true, bytes.len()));
            prop_assert_eq!(Command::decode(opcode, arguments), Ok(command));
            for cut in 0..bytes.len() {
                prop_assert_eq!(scan_request(&bytes[..cut], 64), RequestScan::Incomplete);
            }
        }

        #[test]
        fn any_answer_reads_back(command in any_command(), data: [u8; 4], many in prop::collection::vec(any::<u8>(), 1..252), code: Option<u8>) {
            let value = match command.answer() {
                Shape::Nothing => Value::Nothing,
                Shape::Byte => Value::Byte(data[0]),
                Shape::Flag => Value::Flag(data[0] & 1 == 1),
                Shape::Word => Value::Word(u16::from_be_bytes([data[0], data[1]])),
                Shape::Long => Value::Long(u32::from_be_bytes(data)),
                Shape::Bytes => Value::Bytes(many),
            };
            let result = code.map_or(Ok(value), |code| Err(ErrorCode(code)));
            let bytes = answer(&result).unwrap();
            let asked = request(7, &command);
            prop_assert_eq!(
                scan_answer(&asked, command.answer(), &bytes),
                AnswerScan::Complete { result, skipped: 0 }
            );
            for cut in 0..bytes.len() {
                prop_assert_eq!(scan_answer(&asked, command.answer(), &bytes[..cut]), AnswerScan::Incomplete);
            }
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes: Vec<u8>, command in any_command(), capacity in 0usize..300) {
            scan_answer(&request(1, &command), command.answer(), &bytes);
            if let RequestScan::Whole { opcode, arguments, used, .. } = scan_request(&bytes, capacity) {
                prop_assert!(used <= bytes.len());
                let _ = Command::decode(opcode, arguments);
            }
            broken_request(&bytes, capacity);
        }

        #[test]
        fn an_answer_behind_bytes_that_are_none_is_found(noise in prop::collection::vec(2u8..=254, 0..40), word: u16) {
            let good = answer(&Ok(Value::Word(word))).unwrap();
            let input = [noise.clone(), good].concat();
            let asked = request(1, &ASK);
            prop_assume!(!noise.starts_with(&asked));
            prop_assert_eq!(
                scan_answer(&asked, Shape::Word, &input),
                AnswerScan::Complete { result: Ok(Value::Word(word)), skipped: noise.len() }
            );
        }
    }
}
