//! Files of this machine, whatever stands in their place: read up to a bound, and not waited for without end.

#[cfg(test)]
mod tests;

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long somebody who writes into a pipe may take to say something.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether he did.
const PAUSE: Duration = Duration::from_millis(5);

/// A file that is open for reading. Of a pipe into which nobody writes it sees the end at once, and of one whose writer
/// is silent it sees an error some seconds later.
#[derive(Debug)]
pub struct Reader(File);

/// Opens a file for reading.
///
/// # Errors
/// What the system says.
pub fn open(path: &Path) -> io::Result<Reader> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    Ok(Reader(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
}

/// All of a file, of which there is to be no more than `most` bytes.
///
/// # Errors
/// What the system says, or [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // Of its whole size, so that nothing of a key stays behind where the bytes were before they grew.
    let mut bytes = Vec::with_capacity(file.size()?.min(most).try_into().unwrap_or(0) + 1);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let problem = format!("it is larger than the {} MiB that are read of such a file", most.div_ceil(1 << 20));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// The same of a text.
///
/// # Errors
/// Also where it is none.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

impl Reader {
    /// How large the file is by now; 0 for a pipe.
    ///
    /// # Errors
    /// What the system says.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if begun.elapsed() >= PATIENCE {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came from it in time"));
                    }
                    std::thread::sleep(PAUSE);
                }
                read => return read,
            }
        }
    }
}
