//! The tools that `tests/peers/peers.sh` starts.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The peers, and a folder that they see as well as we do.
pub struct Peers {
    room: TempDir,
    root: PathBuf,
    /// Held while the stores of the daemons are ours.
    _lock: File,
    /// Whether the previous generation runs too.
    pub host: bool,
}

/// Whether absent peers are a failure.
pub fn required() -> bool {
    env::var_os("OCITAR_PEERS").is_some_and(|value| value == "1")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/peers.sh")
}

/// Runs a command to its end: what it wrote to stdout, or what went wrong.
pub fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let Output { status, stdout, stderr } =
        command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        return Ok(stdout);
    }
    let talk = format!("{}{}", String::from_utf8_lossy(&stderr), String::from_utf8_lossy(&stdout));
    Err(format!("{status}: {}", talk.trim().lines().rev().take(3).collect::<Vec<_>>().join(" < ")))
}

impl Peers {
    /// The running peers; `None` when they do not run.
    pub fn find() -> Option<Self> {
        let status = output(Command::new(script()).arg("status")).ok()?;
        let folder = env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let root = env::var_os("PEERS_ROOT").map_or_else(|| folder.join("peers"), PathBuf::from);
        let room = tempfile::Builder::new().prefix("interop-").tempdir_in(root.join("x")).ok()?;
        // Tests empty the stores: one at a time, whichever process they run in.
        let lock = File::create(root.join("x/interop.lock")).ok()?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).ok()?;
        let status = String::from_utf8_lossy(&status).into_owned();
        let host = ["host-docker", "host-ctr"].iter().all(|name| status.contains(name));
        crate::say(&status);
        Some(Self { room, root, _lock: lock, host })
    }

    /// The shared folder, as we see it.
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    /// A path of the shared folder, as the chroot sees it.
    pub fn inside(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).expect("a path in the shared folder");
        format!("/{}", path.display())
    }

    /// Runs a program of the chroot.
    pub fn run(&self, words: &[&str]) -> Result<Vec<u8>, String> {
        output(Command::new("timeout").arg("120").arg(script()).arg("run").args(words))
    }

    /// Runs docker or ctr of the previous generation.
    pub fn host_run(&self, words: &[&str]) -> Result<Vec<u8>, String> {
        output(Command::new("timeout").arg("120").arg(script()).arg("host-run").args(words))
    }
}
