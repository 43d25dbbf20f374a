//! The admin HTTP listeners: `/health`, `/ready`, `/metrics`.
//!
//! All pages with one address share a listener, and a listener whose address stays over a reload stays open: only the table of pages
//! behind it is swapped.

mod serve;
mod timely;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use periplus_core::setup::{HttpAddress, Page, PageContent};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::net::{TCP_BACKLOG, bind_tcp};

/// What the task of a listener gets to close it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Path to content.
type Pages = HashMap<&'static str, Arc<dyn Fn() -> PageContent + Send + Sync>>;

/// All admin listeners of the process.
#[derive(Default)]
pub struct Admin {
    open: BTreeMap<HttpAddress, Listener>,
    /// Those that were told to stop.
    closing: Vec<JoinHandle<()>>,
}

struct Listener {
    pages: Arc<ArcSwap<Pages>>,
    local: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Listeners that were opened for a new configuration and wait for it to be accepted.
pub struct Opened {
    tables: BTreeMap<HttpAddress, Pages>,
    fresh: BTreeMap<HttpAddress, TcpListener>,
}

impl Admin {
    /// Opens what a new configuration needs and is not open yet. Nothing changes for the pages that are served now.
    pub async fn open(&mut self, pages: &[Page]) -> Result<Opened, (HttpAddress, io::Error)> {
        // What was just taken away may be wanted again, and its socket closes when its task ends.
        for task in self.closing.drain(..) {
            let _ = tokio::time::timeout(LAST_WORDS, task).await;
        }
        let mut tables: BTreeMap<HttpAddress, Pages> = BTreeMap::new();
        for page in pages {
            tables
                .entry(page.address.clone())
                .or_default()
                .insert(page.path, Arc::clone(&page.content));
        }
        let mut fresh = BTreeMap::new();
        for address in tables.keys().filter(|address| !self.open.contains_key(address)) {
            match listen(address.socket_address()) {
                Ok(socket) => {
                    fresh.insert(address.clone(), socket);
                }
                Err(error)
                    if pages.iter().any(|page| page.required && page.address == *address) =>
                {
                    return Err((address.clone(), error));
                }
                Err(error) => tracing::error!("cannot listen on {address}: {error}"),
            }
        }
        Ok(Opened { tables, fresh })
    }

    /// Serves the pages of the new configuration and closes listeners that have none left.
    pub fn apply(&mut self, opened: Opened) {
        let Opened { tables, mut fresh } = opened;
        let gone: Vec<_> =
            self.open.keys().filter(|address| !tables.contains_key(address)).cloned().collect();
        for listener in gone.iter().filter_map(|address| self.open.remove(address)) {
            listener.stop.cancel();
            self.closing.push(listener.task);
        }
        for (address, pages) in tables {
            if let Some(listener) = self.open.get(&address) {
                listener.pages.store(Arc::new(pages));
            } else if let Some(socket) = fresh.remove(&address) {
                let local = socket.local_addr().unwrap_or(address.socket_address());
                let pages = Arc::new(ArcSwap::from_pointee(pages));
                let stop = CancellationToken::new();
                let task = tokio::spawn(serve::serve(socket, Arc::clone(&pages), stop.clone()));
                self.open.insert(address, Listener { pages, local, stop, task });
            }
        }
    }

    /// Where the listeners listen; tells the port when 0 was asked for.
    pub fn local_addresses(&self) -> Vec<(HttpAddress, SocketAddr)> {
        self.open.iter().map(|(address, listener)| (address.clone(), listener.local)).collect()
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        for listener in self.open.values() {
            listener.stop.cancel();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let open = |address: SocketAddr| {
        let socket = bind_tcp(address)?;
        socket.listen(TCP_BACKLOG as i32)?;
        TcpListener::from_std(socket.into())
    };
    match open(address) {
        // No IPv6 on this machine: the wildcard is IPv4's.
        Err(error)
            if address.ip().is_unspecified()
                && error.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
        {
            open(SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_was_taken_away_can_come_back_at_once() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a free port")
            .port();
        let page = Page {
            address: HttpAddress { host: "127.0.0.1".into(), port },
            path: "/health",
            content: Arc::new(|| PageContent::text(200, "OK")),
            required: true,
        };
        // With one thread, no task runs unless somebody waits for it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be started").block_on(async {
            let mut admin = Admin::default();
            for pages in [std::slice::from_ref(&page), &[], std::slice::from_ref(&page), &[]] {
                let opened = admin.open(pages).await.unwrap_or_else(|(_, error)| panic!("{error}"));
                admin.apply(opened);
                assert_eq!(admin.open.len(), pages.len());
            }
        });
    }
}
