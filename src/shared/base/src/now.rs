use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC by the clock of this machine; 0 before that.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
