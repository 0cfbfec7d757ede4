//! From what the Pis draw to what the board's converter reads.

use super::fault::Dice;
use fruit_stack::command::Pi;
use fruit_stack::convert::{self, Hardware};
use serde::{Deserialize, Serialize};

/// The supply of a stack. One supply feeds every board through the stand-offs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Supply {
    /// Volts at the boards' input.
    pub volts: f64,
}

impl Default for Supply {
    fn default() -> Self {
        Self { volts: 24.0 }
    }
}

/// The 5 V regulator without load.
const RAIL_VOLTS: f64 = 5.12;
/// What the regulator's output falls by per amp of both Pis together, in ohms.
const RAIL_OHMS: f64 = 0.02;
/// Shunt and switch between rail and Pi, in ohms.
const PI_OHMS: f64 = 0.06;
const REGULATOR_EFFICIENCY: f64 = 0.88;
/// What a board draws for itself, in watts.
const BOARD_WATTS: f64 = 0.35;

/// The analogue side of one board: its revision and how far its resistors are off.
#[derive(Clone, Debug)]
pub(super) struct Electric {
    pub(super) hardware: Hardware,
    /// One gain per measured quantity: input V, input A, rail V, Pi 0 V, Pi 1 V, Pi 0 A, Pi 1 A.
    gains: [f64; 7],
}

/// What the Pis draw now, in amps; `None` for a Pi without power.
pub(super) type Draw = [Option<f64>; 2];

impl Electric {
    pub(super) fn new(hardware: Hardware, tolerance: f64, dice: &mut Dice) -> Self {
        Self { hardware, gains: std::array::from_fn(|_| 1.0 + tolerance * (2.0 * dice.fraction() - 1.0)) }
    }

    fn rail(draw: Draw) -> f64 {
        RAIL_VOLTS - RAIL_OHMS * draw.iter().flatten().sum::<f64>()
    }

    pub(super) fn input_volts(&self, supply: Supply) -> u16 {
        convert::adc_of_input_volts(supply.volts * self.gains[0])
    }

    pub(super) fn input_amps(&self, supply: Supply, draw: Draw) -> u16 {
        let watts = Self::rail(draw) * draw.iter().flatten().sum::<f64>() / REGULATOR_EFFICIENCY + BOARD_WATTS;
        // A supply without volts delivers no current either.
        let amps = if supply.volts > 0.0 { watts / supply.volts } else { 0.0 };
        convert::adc_of_input_amps(amps * self.gains[1])
    }

    pub(super) fn rail_volts(&self, draw: Draw) -> u16 {
        convert::adc_of_rail_volts(Self::rail(draw) * self.gains[2])
    }

    pub(super) fn pi_volts(&self, draw: Draw, pi: Pi) -> u16 {
        let volts = draw[pi.index()].map_or(0.0, |amps| Self::rail(draw) - PI_OHMS * amps);
        convert::adc_of_pi_volts(volts * self.gains[3 + pi.index()], self.hardware)
    }

    pub(super) fn pi_amps(&self, draw: Draw, pi: Pi) -> u16 {
        convert::adc_of_pi_amps(draw[pi.index()].unwrap_or(0.0) * self.gains[5 + pi.index()])
    }

    pub(super) fn input_power(&self, supply: Supply, draw: Draw) -> u32 {
        u32::from(self.input_volts(supply)) * u32::from(self.input_amps(supply, draw))
    }

    pub(super) fn pi_power(&self, draw: Draw, pi: Pi) -> u32 {
        let volts = match self.hardware {
            Hardware::V2 => self.rail_volts(draw),
            Hardware::V3 => self.pi_volts(draw, pi),
        };
        u32::from(volts) * u32::from(self.pi_amps(draw, pi))
    }

    pub(super) fn rail_power(&self, draw: Draw) -> u32 {
        self.pi_power(draw, Pi::Zero).saturating_add(self.pi_power(draw, Pi::One))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_follow_the_load() {
        for hardware in [Hardware::V2, Hardware::V3] {
            let electric = Electric::new(hardware, 0.0, &mut Dice::new(1));
            let draw = [Some(0.5), None];
            let supply = Supply::default();
            assert!((convert::input_volts(electric.input_volts(supply)) - 24.0).abs() < 0.001);
            assert!((convert::pi_amps(electric.pi_amps(draw, Pi::Zero)) - 0.5).abs() < 0.001);
            let volts = convert::pi_volts(electric.pi_volts(draw, Pi::Zero), hardware);
            assert!((volts - 5.08).abs() < 0.001, "{volts}");
            assert_eq!(electric.pi_volts(draw, Pi::One), 0);
            // 5.11 V × 0.5 A = 2.555 W; / 0.88 + 0.35 W = 3.2534 W; / 24 V = 0.1356 A.
            assert!((convert::input_amps(electric.input_amps(supply, draw)) - 0.1356).abs() < 0.001);
            assert!((convert::rail_watts(electric.rail_power(draw)) - 2.55).abs() < 0.02);
        }
    }

    #[test]
    fn tolerance_moves_a_reading_by_no_more_than_it_says() {
        for seed in 0..50 {
            let electric = Electric::new(Hardware::V3, 0.03, &mut Dice::new(seed));
            let volts = convert::input_volts(electric.input_volts(Supply::default()));
            assert!((volts / 24.0 - 1.0).abs() <= 0.0301, "{volts}");
        }
    }
}
