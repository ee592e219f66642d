//! Why something that the host asked for was not done.

#[derive(Debug)]
pub struct Failure {
    /// Stable; README.md lists them.
    pub code: &'static str,
    pub why: String,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(code: &'static str, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

/// Says what was tried when it fails.
pub trait Because<T> {
    fn because(self, code: &'static str, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::fmt::Display> Because<T> for std::result::Result<T, E> {
    fn because(self, code: &'static str, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure::new(code, format!("{}: {error}", what())))
    }
}

/// For messages: what it is when it is text.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
