//! What the boot loader says to fruit-init on the kernel's command line.

pub use fruit_base::hex::{decode as parse_hex, encode as hex};
use fruit_verity::{NotParams, Params};

use crate::bootctl::Slot;
use crate::guid::Guid;

/// Longest command line of an arm64 kernel (`COMMAND_LINE_SIZE`, arch/arm64/include/uapi/asm/setup.h); x86 has the same.
const MAX_LENGTH: usize = 2048;

/// The `fruit.*` keys of a command line; other keys belong to the kernel and systemd.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandLine {
    pub disk: Option<Guid>,
    pub slot: Option<Slot>,
    pub trial: bool,
    /// dm-verity of the slot's root.
    pub verity: Option<Params>,
    /// [`crate::bootctl::LOADER`] of the image that the card was flashed with; none: of a time before it was counted.
    pub loader: Option<u32>,
    /// Longer messages.
    pub debug: bool,
    /// Sentences about keys that were not understood; the boot goes on with the rest.
    pub problems: Vec<String>,
}

impl CommandLine {
    /// Reads `/proc/cmdline`. Of a repeated key the last one counts, as for the kernel; what follows ` -- ` is for init.
    pub fn parse(text: &str) -> CommandLine {
        let mut line = CommandLine::default();
        if text.len() > MAX_LENGTH {
            line.problems.push(format!("command line of {} bytes, at most {MAX_LENGTH} are possible", text.len()));
        }
        for word in words(text) {
            if word == "--" {
                break;
            }
            let Some(rest) = word.strip_prefix("fruit.") else { continue };
            let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
            let result = match key {
                "disk" => value.parse().map(|g| line.disk = Some(g)).map_err(|e| e.to_string()),
                "slot" => match Slot::from_letter(value) {
                    Some(slot) => {
                        line.slot = Some(slot);
                        Ok(())
                    }
                    None => Err(format!("'{value}', expected a or b")),
                },
                "trial" => flag(value).map(|on| line.trial = on),
                "debug" => flag(value).map(|on| line.debug = on),
                "verity" => value.parse().map(|v| line.verity = Some(v)).map_err(|e: NotParams| e.to_string()),
                "loader" => number(value).map(|version| line.loader = Some(version)),
                // Keys of programs that start later.
                _ => Ok(()),
            };
            if let Err(reason) = result {
                line.problems.push(format!("fruit.{key}: {reason}"));
            }
        }
        line
    }
}

fn number(value: &str) -> Result<u32, String> {
    value.parse().map_err(|_| format!("'{value}', expected a number"))
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "" | "1" | "y" | "yes" | "on" | "true" => Ok(true),
        "0" | "n" | "no" | "off" | "false" => Ok(false),
        other => Err(format!("'{other}', expected 1 or 0")),
    }
}

/// Splits at white space outside double quotes and drops the quotes, as `next_arg` of the kernel (lib/cmdline.c).
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        while chars.next_if(|c| c.is_ascii_whitespace() || *c == '\0').is_some() {}
        chars.peek()?;
        let mut word = String::new();
        let mut quoted = false;
        while let Some(c) = chars.next_if(|c| quoted || !(c.is_ascii_whitespace() || *c == '\0')) {
            if c == '"' {
                quoted = !quoted;
            } else {
                word.push(c);
            }
        }
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn the_keys_of_the_contract_are_understood() {
        let text = format!(
            "console=ttyS1,115200 quiet fruit.disk=11111111-2222-8333-8444-555555555500 fruit.slot=b fruit.trial=1 fruit.loader=7 \
             fruit.verity=25600:25601:{ROOT}:00112233 fruit.debug panic=10\n"
        );
        let line = CommandLine::parse(&text);
        assert_eq!(line.problems, [""; 0]);
        assert_eq!(line.disk.unwrap().to_string(), "11111111-2222-8333-8444-555555555500");
        assert_eq!(line.slot, Some(Slot::B));
        assert!(line.trial && line.debug);
        assert_eq!(line.loader, Some(7));
        let verity = line.verity.unwrap();
        assert_eq!((verity.data_blocks, verity.hash_start_block), (25600, 25601));
        assert_eq!(verity.salt, [0, 0x11, 0x22, 0x33]);
        assert_eq!(verity.to_string().parse::<Params>(), Ok(verity));
    }

    #[test]
    fn no_salt_is_a_dash() {
        let verity: Params = format!("1:1:{ROOT}:-").parse().unwrap();
        assert!(verity.salt.is_empty());
        assert_eq!(verity.to_string(), format!("1:1:{ROOT}:-"));
    }

    #[test]
    fn each_wrong_value_is_named_and_the_rest_applies() {
        let line = CommandLine::parse(
            "fruit.slot=c fruit.disk=x fruit.verity=1:2:3 fruit.trial=maybe fruit.loader=-1 fruit.debug=1",
        );
        assert_eq!(line.problems.len(), 5, "{:?}", line.problems);
        assert!(line.problems[0].starts_with("fruit.slot: 'c'"));
        assert!(line.debug);
        assert_eq!((line.slot, line.trial, line.loader), (None, false, None));
    }

    #[test]
    fn the_last_of_a_repeated_key_counts_and_quotes_hold_words_together() {
        let line = CommandLine::parse("dyndbg=\"a fruit.slot=a b\" fruit.slot=a \"fruit.slot=b\" -- fruit.slot=a");
        assert_eq!(line.slot, Some(Slot::B));
    }

    #[test]
    fn verity_sizes_that_overflow_are_refused() {
        assert!(format!("1:18446744073709551615:{ROOT}:-").parse::<Params>().is_err());
        assert!(format!("0:1:{ROOT}:-").parse::<Params>().is_err());
        assert!(format!("9:8:{ROOT}:-").parse::<Params>().is_err());
        assert!(format!("1:1:{ROOT}:{}", "00".repeat(257)).parse::<Params>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_makes_it_panic(text in "(fruit\\.(slot|disk|verity|trial|loader|x)=?|[a-z0-9:=\"\\- ]|\\PC){0,40}") {
            CommandLine::parse(&text);
        }
    }
}
