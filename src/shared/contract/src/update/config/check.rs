//! When sources are asked for new releases.

use std::fmt;
use std::time::Duration;

use serde::de::{self, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::values::Span;

type Every = Span<60_000, 2_592_000_000>;
type Jitter = Span<0, 86_400_000>;

/// `manual`, a time such as `6h`, or `{every: 6h, jitter: 30min}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// By `every`, give or take at random up to `jitter`, so that a fleet that was switched on at once does not ask at
    /// once.
    Every { every: Every, jitter: Jitter },
    /// When a person asks for it.
    Manual,
}

impl Check {
    /// With a tenth of the time as jitter.
    const fn every(every: Every) -> Check {
        Check::Every { every, jitter: Jitter::from_millis(every.millis() / 10) }
    }

    /// Time to the next check. `random` is any number, taken anew each time.
    pub fn wait(&self, random: u64) -> Option<Duration> {
        match self {
            Check::Manual => None,
            Check::Every { every, jitter } => {
                let span = jitter.millis().min(every.millis() / 2) * 2 + 1;
                let earliest = every.millis() - (span - 1) / 2;
                Some(Duration::from_millis(earliest + random % span))
            }
        }
    }

    /// Time from the start of the node to its first check: within the jitter, but soon.
    pub fn first_wait(&self, random: u64) -> Option<Duration> {
        /// A node that has just started has better things to do.
        const SETTLE: u64 = 60_000;
        match self {
            Check::Manual => None,
            Check::Every { jitter, .. } => Some(Duration::from_millis(SETTLE + random % (jitter.millis() + 1))),
        }
    }
}

impl Default for Check {
    fn default() -> Check {
        Check::every(Every::from_millis(6 * 3_600_000))
    }
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Written {
    /// Time between two checks, from 1 minute to 30 days.
    every: Every,
    /// What it may be longer or shorter at random. Default: a tenth of it.
    #[serde(default)]
    jitter: Option<Jitter>,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Check {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Check".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (every, written) = (generator.subschema_for::<Every>(), generator.subschema_for::<Written>());
        schemars::json_schema!({
            "description": "`manual`, a time such as `6h`, or `{every: 6h, jitter: 30min}`.",
            "anyOf": [{"const": "manual"}, every, written],
        })
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Check::Manual => serializer.serialize_str("manual"),
            Check::Every { every, jitter } => Written { every, jitter: Some(jitter) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Check, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Check;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("manual, a time such as 6h, or every and jitter")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Check, E> {
                if text == "manual" {
                    return Ok(Check::Manual);
                }
                Every::deserialize(text.into_deserializer()).map(Check::every)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Check, A::Error> {
                let Written { every, jitter } = Written::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(match jitter {
                    Some(jitter) => Check::Every { every, jitter },
                    None => Check::every(every),
                })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Check {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn three_ways_to_say_when() {
        assert_eq!(read("manual"), Check::Manual);
        assert_eq!(read("6h"), Check::default());
        assert_eq!(read("{every: 6h}"), Check::default());
        let own = Check::Every { every: Every::from_millis(3_600_000), jitter: Jitter::from_millis(0) };
        assert_eq!(read("{every: 1h, jitter: 0s}"), own);
    }

    #[test]
    fn waits_are_spread_over_the_jitter_and_never_outside() {
        let check = read("{every: 1h, jitter: 10min}");
        let (least, most) = (Duration::from_secs(3000), Duration::from_secs(4200));
        let waits: Vec<Duration> = (0..10_000u64).map(|n| check.wait(n * 7919 + 13).unwrap()).collect();
        assert!(waits.iter().all(|wait| (least..=most).contains(wait)));
        let early = waits.iter().filter(|wait| **wait < Duration::from_secs(3600)).count();
        assert!((4_000..6_000).contains(&early), "{early}");
        // A jitter larger than the time itself must not make it negative.
        assert!(read("{every: 1min, jitter: 24h}").wait(0).unwrap() >= Duration::from_secs(30));
        assert_eq!(Check::Manual.wait(1), None);
    }
}
