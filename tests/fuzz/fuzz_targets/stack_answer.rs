//! Pi Stack answers, as the master hears them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    use fruit_stack::command::Shape;
    let Some((&length, rest)) = bytes.split_first() else { return };
    let (request, received) = rest.split_at(rest.len().min(usize::from(length)));
    for shape in [Shape::Nothing, Shape::Byte, Shape::Flag, Shape::Word, Shape::Long, Shape::Bytes] {
        let _ = fruit_stack::frame::scan_answer(request, shape, received);
    }
});
