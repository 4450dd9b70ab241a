//! How commands write data to stdout and errors to stderr.

use super::ReportError;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// The process's two streams, or two buffers in a test. Cheap to clone.
///
/// While a [`super::Reporter`] draws on a terminal, write only after its `finish`.
#[derive(Clone)]
pub struct Output {
    stdout: Stream,
    stderr: Stream,
}

type Stream = Arc<Mutex<dyn Write + Send>>;

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

impl Output {
    /// The process's own stdout and stderr.
    #[must_use]
    pub fn process() -> Self {
        Self::new(io::stdout(), io::stderr())
    }

    /// Other writers in their place.
    pub fn new(stdout: impl Write + Send + 'static, stderr: impl Write + Send + 'static) -> Self {
        Self { stdout: Arc::new(Mutex::new(stdout)), stderr: Arc::new(Mutex::new(stderr)) }
    }

    /// Writes data to stdout, as it is, and at once.
    ///
    /// # Errors
    ///
    /// If stdout takes it no more, for example on a full disk. A closed pipe (`| head -1`) is no error.
    pub fn out(&self, text: &str) -> Result<(), ReportError> {
        self.pass(text.as_bytes()).map(|_| ())
    }

    /// The same with any bytes, for data without end: false once nobody reads them any more.
    ///
    /// # Errors
    ///
    /// If stdout takes it no more.
    pub fn pass(&self, bytes: &[u8]) -> Result<bool, ReportError> {
        match write(&self.stdout, bytes) {
            Ok(()) => Ok(true),
            Err(source) if source.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(source) => Err(ReportError::Stream { stream: "stdout", source }),
        }
    }

    /// Writes an error or a notice to stderr. A failure is left out: there is no place to tell it.
    pub fn err(&self, text: &str) {
        self.err_bytes(text.as_bytes());
    }

    /// The same with any bytes.
    pub fn err_bytes(&self, bytes: &[u8]) {
        let _ = write(&self.stderr, bytes);
    }
}

fn write(stream: &Mutex<dyn Write + Send>, bytes: &[u8]) -> io::Result<()> {
    let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
    stream.write_all(bytes)?;
    stream.flush()
}
