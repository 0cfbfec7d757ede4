//! Every transition, by tables. Times are in seconds since the daemon's start.

mod life;
mod rounds;
mod trial;

use fruit_contract::update::config::RootPath;
use fruit_contract::update::window::WeekMinute;

use super::*;

const UNIX: u64 = 1_800_000_000;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn stick(name: &str) -> Stick {
    Stick { device: format!("/dev/{name}").into() }
}

fn config(yaml: &str) -> UpdateConfig {
    UpdateConfig::from_yaml(&format!("root: /root.json\n{yaml}"), "x").unwrap()
}

/// A daemon and the node around it, as a test wants it.
#[derive(Clone)]
struct Scene {
    config: UpdateConfig,
    state: State,
    now: Duration,
    random: u64,
    sticks: Vec<Stick>,
    armed: bool,
    circumstances: Circumstances,
    /// The facts that the last decision took.
    asked: Vec<Need>,
}

impl Scene {
    fn new(yaml: &str) -> Scene {
        let config = if yaml.is_empty() { UpdateConfig::new(Some(RootPath::of_image())) } else { config(yaml) };
        Scene {
            config,
            state: State::new(None),
            now: Duration::ZERO,
            random: 0,
            sticks: Vec::new(),
            armed: false,
            circumstances: Circumstances::default(),
            asked: Vec::new(),
        }
    }

    /// In its rounds, with sources, since time 0; sources are due at 100 s, nothing else is before.
    fn working(yaml: &str) -> Scene {
        let mut scene = Scene::new(yaml);
        scene.state.stage = Stage::Work(Task::Sources);
        scene.state.sources = true;
        scene.state.next_check = Some(at(100));
        scene.state.next_restart = at(1000);
        scene.state.next_sticks = at(1000);
        scene
    }

    fn facts(&self, needs: &[Need]) -> Facts {
        let has = |need: Need| needs.contains(&need);
        Facts {
            sticks: has(Need::Sticks).then(|| self.sticks.clone()),
            armed: has(Need::Armed).then_some(self.armed),
            circumstances: has(Need::Circumstances).then(|| self.circumstances.clone()),
        }
    }

    /// What the daemon does now. Each fact is given once it was asked for; until then nothing may change.
    fn next(&mut self) -> Action {
        self.asked.clear();
        loop {
            let before = self.state.clone();
            match self.state.next(&self.config, &self.facts(&self.asked), self.now) {
                Ok(action) => return action,
                Err(need) => {
                    assert_eq!(self.state, before, "a question changed something");
                    assert!(!self.asked.contains(&need), "{need:?} was asked for twice");
                    self.asked.push(need);
                }
            }
        }
    }

    fn after(&mut self, outcome: Outcome) {
        let moment = Moment { now: self.now, unix: UNIX + self.now.as_secs(), random: self.random };
        self.state.after(&self.config, outcome, moment);
    }

    fn inhibited(&mut self, by: &[&str]) {
        self.circumstances.inhibitors = by.iter().map(|&one| one.to_owned()).collect();
    }

    /// What the journal was told since the last time.
    fn said(&mut self) -> Vec<String> {
        self.state.lines.drain(..).map(|(_, line)| line).collect()
    }
}

fn check(install: bool) -> Action {
    Action::Check { install }
}
