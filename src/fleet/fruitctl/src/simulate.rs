use crate::failure::{Code, Failure};
use crate::output::print;
use crate::session::Options;
use crate::span;
use clap::Args;
use fruit_stack::address;
use fruit_stack::convert::Hardware;
use fruit_stack::frame::BAUD;
use fruit_stack_simulator::{BoardConfig, Endpoints, LineConfig, PiModel, Simulator, StackConfig, Supply};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Runs until interrupted. With the global --boards, the simulated boards (16 at most, DIP switches in the low nibble
/// and prefix in the high one); with --hardware, their revision.
#[derive(Args)]
pub struct SimulateArgs {
    /// Keep a symbolic link to the pseudo-terminal here.
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
    /// Listen for masters on this address and port too.
    #[arg(long, value_name = "ADDRESS")]
    tcp: Option<SocketAddr>,
    /// Take orders (one JSON object per line) on this Unix socket.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Keep the boards' flash in this file.
    #[arg(long, value_name = "FILE")]
    flash: Option<PathBuf>,
    /// Seconds of the boards per real second; 0 stops them but for orders to advance.
    #[arg(long, default_value_t = 1.0)]
    clock: f64,
    /// Bits per second of the line; 0 delivers at once.
    #[arg(long, default_value_t = BAUD)]
    baud: u32,
    /// What a board takes before it answers.
    #[arg(long, default_value = "5ms", value_parser = span::parse, value_name = "TIME")]
    answer_delay: Duration,
    /// The Pis' lines are driven through the control socket rather than by healthy simulated Pis.
    #[arg(long)]
    external: bool,
    /// Power the Pis when the boards start.
    #[arg(long)]
    start_up: bool,
    /// Volts of the supply.
    #[arg(long, default_value_t = Supply::default().volts)]
    volts: f64,
    /// How far readings may be off, in per cent.
    #[arg(long, default_value_t = 0.0)]
    tolerance: f64,
    /// Decides tolerances and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl SimulateArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let usage = |message: &str| Failure::new(Code::Usage, message);
        if !(0.0..=100.0).contains(&self.tolerance) || !(0.0..=100.0).contains(&self.volts) {
            return Err(usage("--tolerance and --volts must be from 0 to 100"));
        }
        let ids = match options.simulated() {
            Some(ids) => ids,
            None => address::board_list("0-3").map_err(|message| usage(&message))?,
        };
        let board = |id| BoardConfig {
            hardware: options.revision().unwrap_or(Hardware::V3),
            model: if self.external { PiModel::External } else { PiModel::Healthy },
            start_up: self.start_up,
            ..BoardConfig::new(id)
        };
        let config = StackConfig {
            boards: ids.into_iter().map(board).collect(),
            supply: Supply { volts: self.volts },
            tolerance: self.tolerance / 100.0,
            seed: self.seed,
        };
        let line = LineConfig {
            baud: (self.baud > 0).then_some(self.baud),
            answer_delay: self.answer_delay,
            ..LineConfig::default()
        };
        let endpoints = Endpoints {
            pty: true,
            link: self.link,
            tcp: self.tcp,
            control: self.control,
            flash: self.flash,
            line,
            clock: self.clock,
        };
        let simulator = Simulator::start(&config, &endpoints)?;
        let pty = simulator.pty().map(|path| path.display().to_string());
        let tcp = simulator.tcp().map(|address| format!("tcp://{address}"));
        let control = endpoints.control.as_ref().map(|path| path.display().to_string());
        if options.json {
            print(format_args!("{}", json!({ "pty": pty, "tcp": tcp, "control": control })));
        } else {
            for (name, value) in [("pty", pty), ("tcp", tcp), ("control", control)] {
                if let Some(value) = value {
                    print(format_args!("{name} {value}"));
                }
            }
        }
        Ok(simulator.wait()?)
    }
}
