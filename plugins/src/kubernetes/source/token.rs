//! The token of a file, which others replace.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

/// How old a token may be when it is used, as in client-go.
const LIFE: Duration = Duration::from_secs(60);

/// A file with a bearer token.
///
/// `kube` has one too, but sends what it reads as it is: a newline at the end, as most files have, makes a header that cannot be sent.
pub(super) struct TokenFile {
    path: PathBuf,
    header: HeaderValue,
    read: Instant,
}

impl TokenFile {
    /// Reads it.
    pub(super) fn open(path: PathBuf) -> Result<TokenFile, String> {
        match read(&path) {
            Ok(header) => Ok(TokenFile { path, header, read: Instant::now() }),
            Err(cause) => Err(format!("{}: {cause}", path.display())),
        }
    }

    /// The value of `Authorization`. The file is read again when that is due; where it cannot be, what was read before may still be good.
    pub(super) fn header(&mut self) -> HeaderValue {
        if self.read.elapsed() >= LIFE {
            self.read = Instant::now();
            if let Ok(header) = read(&self.path) {
                self.header = header;
            }
        }
        self.header.clone()
    }
}

fn read(path: &PathBuf) -> Result<HeaderValue, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let token = text.trim();
    if token.is_empty() {
        return Err("there is no token in it".to_owned());
    }
    let header = HeaderValue::try_from(format!("Bearer {token}"));
    let mut header = header.map_err(|error| format!("what is in it is no token: {error}"))?;
    header.set_sensitive(true);
    Ok(header)
}
