//! The helper's side: one thread, one task, in namespaces of its own.

mod calls;
mod export;
mod first;
mod identity;
mod measure;
mod mounts;
mod network;
mod program;
mod remove;
mod unpack;
mod usage;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::thread::UnshareFlags;

use crate::protocol::{Answer, During, Failure, HELD, Order, Outcome, Step, Task, receive, send};

/// Does what the order on the input asks for, and ends the process.
pub fn helper() -> ! {
    // SAFETY: the program that started this one as a helper gave it these two; nothing else has used them yet.
    let (control, data) = unsafe { (UnixStream::from_raw_fd(0), OwnedFd::from_raw_fd(1)) };
    if let Err(failure) = identity::keep_three_files() {
        let _ = send(&control, &Answer::Failed(failure));
        leave();
    }
    // With nobody there to be told there is nothing to do.
    if let Ok(order) = receive::<Order>(&control) {
        let answer = follow(order, &control, data).unwrap_or_else(Answer::Failed);
        let _ = send(&control, &answer);
    }
    leave()
}

/// Ends this process, without what a program does at its end.
fn leave() -> ! {
    // SAFETY: it only ends the process.
    unsafe { libc::_exit(0) }
}

fn follow(order: Order, control: &UnixStream, data: OwnedFd) -> Outcome<Answer> {
    identity::die_with(order.parent)?;
    if matches!(order.task, Task::Run(_)) {
        identity::be_first_to_go();
    }
    identity::part(UnshareFlags::NEWUSER).during(Step::UserNamespace, "making a user namespace")?;
    send(control, &Answer::Unshared).during(Step::UserNamespace, "telling of the user namespace")?;
    let Ok(Answer::Mapped) = receive(control) else {
        return Err(Failure::new(Step::Identity, "mapping ids", "they have not been mapped"));
    };
    identity::part(UnshareFlags::NEWNS).during(Step::Namespaces, "making a mount namespace")?;
    mounts::keep_to_ourselves()?;
    // Still as the user who asked: nobody else gets through the folders above.
    let held = match order.task {
        Task::Try => None,
        _ => Some(mounts::folder(&order.held)?),
    };
    identity::be_root_inside()?;
    identity::die_with(order.parent)?;
    let held = match (held, order.task) {
        (None, _) => return attempt(control),
        (Some(held), task) => (held, task),
    };
    match held {
        (held, Task::Make) => mounts::make_root(&held).map(|()| Answer::Done),
        (held, Task::Remove) => remove::remove(&held).map(|()| Answer::Done),
        (held, Task::Unpack) => {
            mounts::only_the_root(&held)?;
            unpack::unpack(BufReader::with_capacity(1 << 20, File::from(data))).map(Answer::Unpacked)
        }
        (held, Task::Export) => {
            mounts::only_the_root(&held)?;
            let mut to = BufWriter::with_capacity(1 << 20, File::from(data));
            export::export(&mut to)?;
            to.flush().during(Step::Tree, "writing the archive")?;
            Ok(Answer::Done)
        }
        (held, Task::Run(run)) => first::run(control, || first::first(control, &held, data, &run)),
        (_, Task::Try) => Err(Failure::new(Step::Start, HELD, "is not needed for a trial")),
    }
}

/// All that a run needs, with an empty root.
fn attempt(control: &UnixStream) -> Outcome<Answer> {
    first::run(control, || {
        mounts::nothing_but_new()?;
        network::loopback()?;
        calls::Filters::new().map(|_| Answer::Done)
    })
}
