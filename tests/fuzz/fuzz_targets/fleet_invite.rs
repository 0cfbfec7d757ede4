//! Invites, as somebody has typed or scanned them.
#![no_main]

use fruit_record::{Invite, Labels, Selector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(invite) = Invite::from_text(text) {
        assert_eq!(Invite::from_text(&invite.to_text()), Ok(invite));
    }
    let _ = text.parse::<Labels>();
    if let Ok(selector) = text.parse::<Selector>() {
        assert_eq!(selector.to_string().parse(), Ok(selector));
    }
});
