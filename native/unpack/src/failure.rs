//! Why a layer was not unpacked, as the parent process is told.
use std::io;

/// The stable word for the kind of a failure; `images/layers/unpack.ts` has an error code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A name, link or whiteout that leads out of the layer, or through a symbolic link of it.
    Escape,
    Device,
    /// A user or group number outside the range that the layer may use.
    Id,
    TypeChange,
    TooManyEntries,
    TooManyBytes,
    Ratio,
    /// Not a tar archive, or one with parts that no image tool writes.
    Malformed,
    DiffId,
    DiskFull,
    /// The machine's fault, not the layer's.
    Failed,
}

impl Problem {
    pub fn word(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Device => "device",
            Self::Id => "id",
            Self::TypeChange => "type-change",
            Self::TooManyEntries => "too-many-entries",
            Self::TooManyBytes => "too-many-bytes",
            Self::Ratio => "ratio",
            Self::Malformed => "malformed",
            Self::DiffId => "diff-id",
            Self::DiskFull => "disk-full",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug)]
pub struct Failure {
    pub problem: Problem,
    /// In words, without the name of the entry.
    pub why: String,
    /// The entry's name as the archive has it.
    pub entry: Option<Vec<u8>>,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(problem: Problem, why: impl Into<String>) -> Self {
        Self { problem, why: why.into(), entry: None }
    }

    pub fn at(mut self, entry: &[u8]) -> Self {
        self.entry.get_or_insert_with(|| entry.to_vec());
        self
    }

    /// A call of the file system that should have worked.
    pub fn of_call(call: &str, error: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        let problem = match error {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Problem::DiskFull,
            Errno::NAMETOOLONG | Errno::MLINK => Problem::Malformed,
            _ => Problem::Failed,
        };
        Self::new(problem, format!("{call}: {error}"))
    }

    /// What reading the archive gave: a failure of the stream keeps its own kind.
    pub fn of_read(error: io::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Self::new(Problem::Malformed, error.to_string()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}
