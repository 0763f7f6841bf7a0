//! Runs `ocitar` and `check.py`, and gives them a folder to work in.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a program did.
#[derive(Debug)]
pub struct Run {
    /// The exit code; minus the signal when there was one.
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Run {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Fails unless the run ended well.
    #[track_caller]
    pub fn ok(self) -> Run {
        assert_eq!(self.code, 0, "{}{}", self.err, self.text());
        self
    }

    /// The id in the first line of standard error.
    pub fn id(&self) -> &str {
        let line = self.err.lines().next().unwrap_or_default();
        line.rsplit_once('[').and_then(|(_, id)| id.strip_suffix(']')).unwrap_or(line)
    }
}

/// `ocitar`, not started yet.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ocitar"));
    command.args(args).env_remove("RUST_BACKTRACE");
    command
}

/// Runs `ocitar` without input.
pub fn ocitar<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    finish(&mut command(args), &[])
}

/// Runs `ocitar` with this standard input.
pub fn ocitar_reading<S: AsRef<OsStr>>(input: &[u8], args: impl IntoIterator<Item = S>) -> Run {
    finish(&mut command(args), input)
}

/// Runs a program to its end.
pub fn finish(command: &mut Command, input: &[u8]) -> Run {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    std::thread::scope(|threads| {
        // A program that stops reading early is not at fault.
        threads.spawn(move || stdin.write_all(input));
        let err = &mut err;
        threads.spawn(move || stderr.read_to_end(err).unwrap());
        child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    });
    let status = child.wait().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().unwrap_or(-signal.unwrap_or(0));
    Run { code, out, err: String::from_utf8_lossy(&err).into_owned() }
}

/// A folder that is gone when the test is.
pub struct Room(tempfile::TempDir);

impl Room {
    pub fn new() -> Room {
        Room(tempfile::tempdir().unwrap())
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What is in it, hidden files too, sorted.
    pub fn list(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The archives of `testdata`, sorted.
pub fn testdata() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_archive = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains(".tar");
    let mut all: Vec<PathBuf> = entries.filter(is_archive).collect();
    all.sort();
    assert!(all.len() > 40, "testdata is not there");
    all
}

/// Runs `check.py`; `None` where there is no Python.
pub fn check_py<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Option<Run> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check.py");
    let mut command = Command::new("python3");
    let works = command.arg("--version").output().is_ok_and(|done| done.status.success());
    works.then(|| finish(Command::new("python3").arg(script).args(args), &[]))
}
