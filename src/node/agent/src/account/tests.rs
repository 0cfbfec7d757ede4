use super::record::{SIZE, decode, encode};
use super::store::{COPIES, Store};
use super::*;
use proptest::prelude::*;

fn filled() -> Account {
    let mut account = Account::default();
    account.open([1; 16], ResetCause::Unknown);
    account.current = Boot { uptime: 100, beats_given: 20, beats_withheld: 3 };
    account.withheld_for[Condition::Memory as usize] = 3;
    account.withhold(
        Conditions::NONE.with(Condition::Memory),
        "memory pressure is 51.0%, the limit is 40%",
        1_700_000_000,
    );
    account
}

#[test]
fn a_boot_that_ended_without_notice_was_a_power_loss_or_the_watchdog() {
    for (cause, ending) in [(ResetCause::Unknown, Ending::PowerLoss), (ResetCause::Watchdog, Ending::Watchdog)] {
        let mut account = filled();
        assert!(account.open([2; 16], cause));
        assert_eq!((account.boots, account.previous_ending), (2, Some(ending)));
        assert_eq!(account.endings[ending as usize], 1);
        assert_eq!(account.previous, Boot { uptime: 100, beats_given: 20, beats_withheld: 3 });
        assert_eq!((account.current, account.total()), (Boot::default(), account.previous));
        assert_eq!(account.last_withholding.as_ref().unwrap().boot, 1);
    }
}

#[test]
fn a_noted_ending_is_believed_rather_than_the_hardware() {
    for ending in [Ending::Signal, Ending::OwnPoweroff, Ending::OwnReboot] {
        let mut account = filled();
        account.end(ending);
        account.open([2; 16], ResetCause::Watchdog);
        assert_eq!((account.previous_ending, account.ending), (Some(ending), None));
    }
}

#[test]
fn the_boards_order_stays_the_reason_of_the_shutdown_that_it_starts() {
    let mut account = filled();
    account.end(Ending::Signal);
    account.end(Ending::OwnPoweroff);
    assert_eq!(account.ending, Some(Ending::Signal));
}

#[test]
fn a_restart_of_the_agent_is_not_a_boot() {
    let mut account = filled();
    account.end(Ending::OwnReboot);
    assert!(!account.open([1; 16], ResetCause::Watchdog));
    assert_eq!(account, filled());
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let mut account = Account::default();
    account.withhold(Conditions::NONE, &"ß".repeat(100), 0);
    let long = format!("x{}", "ß".repeat(100));
    assert_eq!(account.last_withholding.as_ref().unwrap().detail.len(), DETAIL_MAX);
    account.withhold(Conditions::NONE, &long, 0);
    assert_eq!(account.last_withholding.unwrap().detail.len(), DETAIL_MAX - 1);
}

#[test]
fn a_write_torn_at_any_byte_leaves_the_account_before_it_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut account = Account::default();
    account.open([9; 16], ResetCause::Unknown);
    let (mut store, _) = Store::open(folder.path()).unwrap();
    for generation in 1..=3u64 {
        let copies = COPIES.map(|name| std::fs::read(folder.path().join(name)).unwrap_or_default());
        let before = account.clone();
        account.current.uptime = generation;
        store.write(&account).unwrap();
        let after = COPIES.map(|name| std::fs::read(folder.path().join(name)).unwrap_or_default());
        let written = usize::from(copies[0] == after[0]);
        assert_eq!(copies[1 - written], after[1 - written], "one write touches one copy");
        let path = folder.path().join(COPIES[written]);
        for cut in 0..=SIZE {
            // Written in place: new bytes up to the cut, then what was there; and a file that just began to grow.
            let mut in_place = after[written][..cut].to_vec();
            in_place.extend(copies[written].get(cut..).unwrap_or_default());
            for torn in [in_place, after[written][..cut].to_vec()] {
                std::fs::write(&path, &torn).unwrap();
                let (_, found) = Store::open(folder.path()).unwrap();
                let expected = if torn == after[written] { &account } else { &before };
                if generation > 1 {
                    assert_eq!(&found, expected, "generation {generation}, cut at {cut}");
                }
            }
        }
        std::fs::write(&path, &after[written]).unwrap();
    }
}

#[test]
fn the_copies_take_turns_also_across_restarts_and_a_wrapping_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut account = filled();
    std::fs::write(folder.path().join(COPIES[0]), encode(&account, u32::MAX)).unwrap();
    for uptime in 0..5 {
        let (mut store, found) = Store::open(folder.path()).unwrap();
        assert_eq!(found, account);
        account.current.uptime = uptime;
        store.write(&account).unwrap();
    }
    assert_eq!(Store::open(folder.path()).unwrap().1, account);
}

#[test]
fn a_store_that_cannot_be_written_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let (mut store, account) = Store::open(&gone).unwrap();
    assert_eq!(account, Account::default());
    assert!(store.write(&account).unwrap_err().to_string().contains("gone/account.0"));
}

#[test]
fn the_card_is_spared() {
    let mut budget = WriteBudget::new(0);
    let writes = (0..3_600).filter(|second| budget.spend(true, second * 1_000)).count();
    assert!(writes <= 5 + 60, "{writes} writes in an hour of constant trouble");
    let mut budget = WriteBudget::new(0);
    let writes = (0..86_400).filter(|second| budget.spend(false, second * 1_000)).count();
    assert_eq!(writes, 47, "one each half hour of a quiet day");
    assert!(WriteBudget::new(0).spend(true, 0), "trouble is written at once");
}

fn any_account() -> impl Strategy<Value = Account> {
    let boot = || {
        any::<(u64, u64, u64)>().prop_map(|(uptime, beats_given, beats_withheld)| Boot {
            uptime,
            beats_given,
            beats_withheld,
        })
    };
    let ending = || proptest::option::of(0..Ending::COUNT).prop_map(|n| n.map(|n| Ending::ALL[n]));
    let last = proptest::option::of((1u32.., any::<u64>(), 0u32..64, "[a-zß ]{0,60}"));
    (
        any::<u32>(),
        any::<[u8; 16]>(),
        (ending(), ending()),
        (boot(), boot(), boot()),
        any::<[u32; Ending::COUNT]>(),
        any::<[u64; Condition::COUNT]>(),
        last,
    )
        .prop_map(
            |(boots, boot_id, (ending, previous_ending), (current, previous, earlier), endings, withheld_for, last)| {
                Account {
                    boots,
                    boot_id,
                    ending,
                    current,
                    previous,
                    previous_ending,
                    endings,
                    earlier,
                    withheld_for,
                    last_withholding: last.map(|(boot, at, bits, detail)| Withholding {
                        boot,
                        at,
                        conditions: Conditions::from_bits(bits),
                        detail,
                    }),
                }
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(account in any_account(), sequence in any::<u32>()) {
        prop_assert_eq!(decode(&encode(&account, sequence)), Some((account, sequence)));
    }

    #[test]
    fn a_record_with_a_flipped_bit_is_no_record(account in any_account(), bit in 0..SIZE * 8) {
        let mut record = encode(&account, 1);
        record[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(decode(&record), None);
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), SIZE), sealed in any::<bool>()) {
        if sealed {
            bytes[..4].copy_from_slice(b"FAA1");
            let checksum = crc32fast::hash(&bytes[..SIZE - 4]);
            bytes[SIZE - 4..].copy_from_slice(&checksum.to_le_bytes());
        }
        let _ = decode(&bytes);
        let _ = decode(&bytes[..SIZE / 2]);
    }
}
