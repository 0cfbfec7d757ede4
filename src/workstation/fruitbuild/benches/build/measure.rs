//! Time and memory of other programs.

use std::fs;
use std::process::Command;
use std::time::Instant;

/// What a run took.
#[derive(Clone, Copy)]
pub struct Cost {
    /// By the clock.
    pub seconds: f64,
    /// Of all processors, with the children's.
    pub processor: f64,
    /// Most memory that one process had, bytes.
    pub peak: u64,
}

impl Cost {
    pub fn print(&self, verdict: &str) {
        println!("    {:7.2} s  {:7.2} s of processors  {verdict}", self.seconds, self.processor);
    }
}

/// Runs a command to its good end, under time(1) for what it used. `package` is the Debian package that has the program.
pub fn run(package: &str, command: &mut Command) -> Cost {
    let program = command.get_program().to_owned();
    let found = std::path::Path::new(&program).is_file() || on_path(&program);
    assert!(found, "{} is missing; install the Debian package {package}", program.display());
    let report = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["--format=%U %S %M", "--output"]).arg(report.path()).arg(program).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    let start = Instant::now();
    let output = timed.output().unwrap_or_else(|error| panic!("time: {error}; install the Debian package time"));
    let seconds = start.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    let text = fs::read_to_string(report.path()).expect("the report of time");
    let used: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [user, system, kilobytes] = used[..] else { panic!("time said {text:?}") };
    Cost { seconds, processor: user + system, peak: kilobytes as u64 * 1024 }
}

fn on_path(program: &std::ffi::OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs each of `things` once per round, in turn, and gives their medians.
pub fn alternate<const N: usize>(rounds: usize, mut things: [&mut dyn FnMut() -> Cost; N]) -> [Cost; N] {
    let mut all: [Vec<Cost>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..rounds {
        for (thing, costs) in things.iter_mut().zip(&mut all) {
            costs.push(thing());
        }
    }
    all.map(median)
}

/// The median of each number; of the peak, the highest.
#[allow(clippy::needless_pass_by_value)] // [`alternate`] maps over owned lists
pub fn median(costs: Vec<Cost>) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut numbers: Vec<f64> = costs.iter().map(of).collect();
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    Cost {
        seconds: middle(|c| c.seconds),
        processor: middle(|c| c.processor),
        peak: costs.iter().map(|c| c.peak).max().unwrap_or(0),
    }
}

/// `of` over `to`, by the clock and by the processors' time, against the figure to reach.
pub fn ratio(of: &Cost, to: &Cost, limit: f64) -> String {
    let times = of.seconds / to.seconds;
    let processor = of.processor / to.processor;
    format!("ratio {times:.2}, of processors {processor:.2} (limit {limit:.2}: {})", verdict(times <= limit))
}

pub fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
