//! Reading files of bounded size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::diagnostic::Diagnostic;
use super::failed::Failed;
use super::limits::MAX_FILE_BYTES;

/// Reads a file of bounded size.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
    }
    read_text(file)
}

/// Reads a text of bounded size to its end. Bytes that are no UTF-8 become U+FFFD, as in CoreDNS; a
/// comment in another encoding must not keep a server from starting.
pub fn read_text(input: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("larger than {} MiB", MAX_FILE_BYTES / (1024 * 1024));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// The reason of an I/O error in the words Go has for it.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Refuses a text whose places 32 bits could not name; files this large are not even read.
pub(super) fn too_large(name: &str, text: &str) -> Option<Failed> {
    let limit = MAX_FILE_BYTES / (1024 * 1024);
    (text.len() as u64 > MAX_FILE_BYTES).then(|| {
        Failed::outright(Diagnostic::general(format!("{name} is larger than {limit} MiB")))
    })
}
