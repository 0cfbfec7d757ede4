//! `--filter POINTER OP VALUE`: nodes by what is at a JSON pointer (RFC 6901) of their document.

use crate::failure::Failure;
use crate::fleet::usage;
use globset::{Glob, GlobMatcher};
use serde_json::Value;
use std::cmp::Ordering;

/// One condition.
pub struct Filter {
    pointer: String,
    test: Test,
}

enum Test {
    Is(Ordering, Value),
    Glob(GlobMatcher),
}

impl Filter {
    /// Reads pointer, operator and value.
    pub fn read(words: &[String]) -> Result<Filter, Failure> {
        let [pointer, operator, value] = words else { return Err(usage("--filter takes POINTER OP VALUE")) };
        let wrong = |why: String| usage(format!("--filter {pointer} {operator} {value}: {why}"));
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(wrong("a JSON pointer begins with `/`, such as /facts/temperature".into()));
        }
        // What is no JSON is a text: nobody has to put quotes into quotes.
        let json = || serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone()));
        let test = match operator.as_str() {
            "=" => Test::Is(Ordering::Equal, json()),
            "<" => Test::Is(Ordering::Less, json()),
            ">" => Test::Is(Ordering::Greater, json()),
            "glob" => Test::Glob(Glob::new(value).map_err(|why| wrong(why.to_string()))?.compile_matcher()),
            _ => return Err(wrong("the operator is one of = < > glob".into())),
        };
        Ok(Filter { pointer: pointer.clone(), test })
    }

    /// Whether a document passes: what it does not have passes nothing.
    pub fn passes(&self, document: &Value) -> bool {
        let Some(found) = document.pointer(&self.pointer) else { return false };
        match &self.test {
            Test::Is(ordering, wanted) => compare(found, wanted) == Some(*ordering),
            Test::Glob(glob) => match found {
                Value::String(text) => glob.is_match(text),
                Value::Number(number) => glob.is_match(number.to_string()),
                _ => false,
            },
        }
    }
}

/// Numbers by their size, texts by their characters; a number also as the text that it is. Others are equal or not.
fn compare(found: &Value, wanted: &Value) -> Option<Ordering> {
    match (found, wanted) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::Number(b)) => (*a == b.to_string()).then_some(Ordering::Equal),
        (a, b) => (a == b).then_some(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filter(words: [&str; 3]) -> Result<Filter, Failure> {
        Filter::read(&words.map(str::to_owned))
    }

    #[test]
    fn values_at_pointers_are_compared() {
        let node = json!({"name": "pi-1", "labels": {"rack": "1", "a/b": "c"}, "facts": {"temperature": 48.5, "slot": "b"}, "seen": null});
        for (words, passes) in [
            (["/name", "=", "pi-1"], true),
            (["/name", "=", "\"pi-1\""], true),
            (["/name", "glob", "pi-*"], true),
            (["/name", "glob", "PI-*"], false),
            (["/facts/temperature", ">", "48"], true),
            (["/facts/temperature", "<", "48"], false),
            (["/facts/temperature", "=", "48.5"], true),
            (["/facts/slot", ">", "a"], true),
            (["/labels/rack", "=", "1"], true),
            (["/labels/a~1b", "=", "c"], true),
            (["/seen", "=", "null"], true),
            (["/seen", "<", "5"], false),
            (["/facts/nothing", "=", "1"], false),
            (["/name", ">", "5"], false),
        ] {
            assert_eq!(filter(words).unwrap().passes(&node), passes, "{words:?}");
        }
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for (words, says) in [
            (["name", "=", "a"], "begins with `/`"),
            (["/name", "==", "a"], "one of = < > glob"),
            (["/name", "glob", "[a"], "/name glob [a"),
        ] {
            let said = filter(words).err().map(|failure| failure.to_string()).unwrap_or_default();
            assert!(said.contains(says), "{words:?}: {said}");
        }
    }
}
