//! From the boards' ADC readings to volts, amps and watts, and back for the simulated board.
//!
//! Resistor tolerance makes boards differ by a few per cent; no reading is better than that.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Volts at the converter's full scale.
const FULL_SCALE_VOLTS: f64 = 3.3;
/// The ADC reading at full scale.
const FULL_SCALE: f64 = 65535.0;
/// Divider at the supply input: 100 kΩ over 12 kΩ.
const INPUT_DIVIDER: f64 = (100e3 + 12e3) / 12e3;
/// Gain of the input's current-sense amplifier, and its shunt in ohms.
const INPUT_SENSE_GAIN: f64 = 20.0;
const INPUT_SHUNT: f64 = 0.039;
/// Divider at the 5 V rail, and at the Pis of V3 hardware: 3.3 kΩ over 3.9 kΩ.
const RAIL_DIVIDER: f64 = (3.3e3 + 3.9e3) / 3.9e3;
/// Divider at the Pis of V2 hardware: 2 kΩ over 3 kΩ.
const PI_DIVIDER_V2: f64 = (2e3 + 3e3) / 3e3;
/// The Pi's current monitor turns 1 V of output into 1/100 V over its shunt: 0.05 Ω shunt, 3.3 kΩ output resistor.
const PI_AMPS_PER_VOLT: f64 = 100.0 / (0.05 * 3300.0);

/// The board revisions that differ in their dividers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hardware {
    V2,
    V3,
}

impl Hardware {
    /// The revision that a board names itself (command 03), if we know its dividers.
    pub const fn from_version(version: u8) -> Option<Self> {
        match version {
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }

    /// The byte that such a board answers to command 03.
    pub const fn version(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    const fn pi_divider(self) -> f64 {
        match self {
            Self::V2 => PI_DIVIDER_V2,
            Self::V3 => RAIL_DIVIDER,
        }
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.version())
    }
}

impl FromStr for Hardware {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "v2" | "V2" => Ok(Self::V2),
            "v3" | "V3" => Ok(Self::V3),
            _ => Err(format!("`{text}` is not a board revision: write v2 or v3")),
        }
    }
}

fn volts(adc: u16) -> f64 {
    f64::from(adc) * FULL_SCALE_VOLTS / FULL_SCALE
}

/// The reading nearest to `volts` at the converter's pin; what is beyond its range stays at the end of the range.
fn adc(volts: f64) -> u16 {
    // `as` saturates and turns NaN into 0, which is what a converter without input reads.
    (volts / FULL_SCALE_VOLTS * FULL_SCALE).round() as u16
}

/// Volts at the supply input.
pub fn input_volts(adc: u16) -> f64 {
    volts(adc) * INPUT_DIVIDER
}

/// Amps drawn from the supply.
pub fn input_amps(adc: u16) -> f64 {
    volts(adc) / INPUT_SENSE_GAIN / INPUT_SHUNT
}

/// Volts of the 5 V rail.
pub fn rail_volts(adc: u16) -> f64 {
    volts(adc) * RAIL_DIVIDER
}

/// Volts at a Pi.
pub fn pi_volts(adc: u16, hardware: Hardware) -> f64 {
    volts(adc) * hardware.pi_divider()
}

/// Amps drawn by a Pi.
pub fn pi_amps(adc: u16) -> f64 {
    volts(adc) * PI_AMPS_PER_VOLT
}

/// Watts drawn from the supply, from the product of the two ADC readings.
pub fn input_watts(raw: u32) -> f64 {
    power(raw) * INPUT_DIVIDER / INPUT_SHUNT / INPUT_SENSE_GAIN
}

/// Watts of the 5 V rail or of a Pi, from the product of the two ADC readings. The formula is the same for both
/// hardware revisions.
pub fn rail_watts(raw: u32) -> f64 {
    power(raw) * RAIL_DIVIDER * PI_AMPS_PER_VOLT
}

fn power(raw: u32) -> f64 {
    f64::from(raw) * FULL_SCALE_VOLTS * FULL_SCALE_VOLTS / (FULL_SCALE * FULL_SCALE)
}

/// The reading of a board whose supply input has `volts`.
pub fn adc_of_input_volts(volts: f64) -> u16 {
    adc(volts / INPUT_DIVIDER)
}

/// The reading of a board that draws `amps` from its supply.
pub fn adc_of_input_amps(amps: f64) -> u16 {
    adc(amps * INPUT_SENSE_GAIN * INPUT_SHUNT)
}

/// The reading of a board whose 5 V rail has `volts`.
pub fn adc_of_rail_volts(volts: f64) -> u16 {
    adc(volts / RAIL_DIVIDER)
}

/// The reading of a board whose Pi gets `volts`.
pub fn adc_of_pi_volts(volts: f64, hardware: Hardware) -> u16 {
    adc(volts / hardware.pi_divider())
}

/// The reading of a board whose Pi draws `amps`.
pub fn adc_of_pi_amps(amps: f64) -> u16 {
    adc(amps / PI_AMPS_PER_VOLT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6 * expected.max(1.0), "{value}, expected {expected}");
    }

    #[test]
    fn zero_is_zero_everywhere() {
        for value in [input_volts(0), input_amps(0), rail_volts(0), pi_amps(0), input_watts(0), rail_watts(0)] {
            assert_eq!(value, 0.0);
        }
        assert_eq!(pi_volts(0, Hardware::V2), 0.0);
        assert_eq!(pi_volts(0, Hardware::V3), 0.0);
    }

    /// Full scale is 3.3 V at the pin: 3.3 × 112/12 = 30.8 V; 3.3/20/0.039 = 4.230769 A; 3.3 × 72/39 = 6.092308 V;
    /// 3.3 × 5/3 = 5.5 V on V2; 3.3 × 100/165 = 2 A; powers are the products of these.
    #[test]
    fn full_scale_is_what_the_resistors_say() {
        near(input_volts(u16::MAX), 30.8);
        near(input_amps(u16::MAX), 3.3 / 0.78);
        near(rail_volts(u16::MAX), 3.3 * 72.0 / 39.0);
        near(pi_volts(u16::MAX, Hardware::V3), 3.3 * 72.0 / 39.0);
        near(pi_volts(u16::MAX, Hardware::V2), 5.5);
        near(pi_amps(u16::MAX), 2.0);
        let product = 65535 * 65535;
        near(input_watts(product), 30.8 * 3.3 / 0.78);
        near(rail_watts(product), 3.3 * 72.0 / 39.0 * 2.0);
        assert!(input_watts(u32::MAX).is_finite() && rail_watts(u32::MAX).is_finite());
    }

    #[test]
    fn a_reading_survives_the_way_to_its_unit_and_back() {
        for reading in (0..=u16::MAX).step_by(7).chain([1, 65534, 65535]) {
            assert_eq!(adc_of_input_volts(input_volts(reading)), reading);
            assert_eq!(adc_of_input_amps(input_amps(reading)), reading);
            assert_eq!(adc_of_rail_volts(rail_volts(reading)), reading);
            assert_eq!(adc_of_pi_amps(pi_amps(reading)), reading);
            for hardware in [Hardware::V2, Hardware::V3] {
                assert_eq!(adc_of_pi_volts(pi_volts(reading, hardware), hardware), reading);
            }
        }
    }

    #[test]
    fn what_is_beyond_the_converter_stays_at_its_end() {
        assert_eq!(adc_of_input_volts(48.0), u16::MAX);
        assert_eq!(adc_of_input_volts(-1.0), 0);
        assert_eq!(adc_of_pi_amps(f64::NAN), 0);
        assert_eq!(adc_of_pi_amps(f64::INFINITY), u16::MAX);
    }

    #[test]
    fn power_is_volts_times_amps_where_the_dividers_agree() {
        let (v, a) = (adc_of_input_volts(24.0), adc_of_input_amps(1.25));
        let watts = input_watts(u32::from(v) * u32::from(a));
        assert!((watts - 30.0).abs() < 0.01, "{watts}");
        let (v, a) = (adc_of_pi_volts(5.0, Hardware::V3), adc_of_pi_amps(0.6));
        let watts = rail_watts(u32::from(v) * u32::from(a));
        assert!((watts - 3.0).abs() < 0.01, "{watts}");
    }
}
