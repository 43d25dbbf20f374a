//! The admin HTTP listeners: `/health`, `/ready`, `/metrics`.
//!
//! All pages with one address share a listener, and a listener whose address stays over a reload stays open: only the table of pages
//! behind it is swapped. Addresses may overlap, `:8080` and `127.0.0.1:8080`: the kernel gives a connection to the listener that says most
//! exactly where it listens, and that one has the other's pages too.

mod serve;
mod timely;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use periplus_core::corefile::Span;
use periplus_core::setup::{HttpAddress, Page, PageContent};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::net::{TCP_BACKLOG, bind_tcp};

/// Path to content.
type Pages = HashMap<&'static str, Arc<dyn Fn() -> PageContent + Send + Sync>>;

/// All admin listeners of the process.
#[derive(Default)]
pub struct Admin {
    /// By where they were asked to listen: a port may be 0.
    open: BTreeMap<SocketAddr, Listener>,
}

struct Listener {
    name: HttpAddress,
    pages: Arc<ArcSwap<Pages>>,
    local: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The pages of one listener, as a configuration wants them.
struct Wanted {
    /// As the Corefile has it. Others may mean the same.
    name: HttpAddress,
    pages: Pages,
}

impl Wanted {
    fn nothing_at(name: &HttpAddress) -> Wanted {
        Wanted { name: name.clone(), pages: Pages::new() }
    }
}

/// Sockets that were bound for a new configuration and wait for it to be accepted.
pub struct Opened {
    wanted: BTreeMap<SocketAddr, Wanted>,
    /// They do not listen yet: until somebody answers, nobody shall connect to them instead of to those that overlap.
    fresh: BTreeMap<SocketAddr, Socket>,
    /// What would be served where no socket could be opened.
    unopened: Pages,
}

impl Admin {
    /// Opens what a new configuration needs and is not open yet. Nothing changes for the pages that are served now.
    /// An error says which word asks for the address.
    pub fn open(&self, pages: &[Page]) -> Result<Opened, (Span, HttpAddress, io::Error)> {
        let mut opened =
            Opened { wanted: group(pages), fresh: BTreeMap::new(), unopened: Pages::new() };
        let missing: Vec<SocketAddr> =
            opened.wanted.keys().filter(|at| !self.open.contains_key(at)).copied().collect();
        for at in missing {
            let mut here = pages.iter().filter(|page| socket_address(&page.address) == at);
            match bind_tcp(at) {
                Ok(socket) => {
                    opened.fresh.insert(at, socket);
                }
                Err(error) => match here.find_map(|page| Some((page.required?, &page.address))) {
                    Some((word, address)) => return Err((word, address.clone(), error)),
                    None => opened.give_up(at, &error),
                },
            }
        }
        self.keep_included(&mut opened.wanted);
        share_pages(&mut opened.wanted);
        Ok(opened)
    }

    /// Where a wildcard of the new configuration includes the address of a listener, the listener stays: until it is closed it gets the
    /// address's connections, and those that are being made when it is closed are reset.
    fn keep_included(&self, wanted: &mut BTreeMap<SocketAddr, Wanted>) {
        for (at, listener) in &self.open {
            if wanted.keys().any(|all| includes(all, at)) {
                wanted.entry(*at).or_insert_with(|| Wanted::nothing_at(&listener.name));
            }
        }
    }

    /// Serves the pages of the new configuration and closes listeners that have none left. A page whose new listener could not be opened is
    /// served where it was before.
    pub fn apply(&mut self, mut opened: Opened) {
        for (at, socket) in std::mem::take(&mut opened.fresh) {
            match Listener::start(&opened.wanted[&at], socket) {
                Ok(listener) => {
                    self.open.insert(at, listener);
                }
                Err(error) => opened.give_up(at, &error),
            }
        }
        let Opened { mut wanted, unopened, .. } = opened;
        for (at, listener) in &self.open {
            let before = listener.pages.load();
            for (path, content) in unopened.iter().filter(|(path, _)| before.contains_key(*path)) {
                wanted
                    .entry(*at)
                    .or_insert_with(|| Wanted::nothing_at(&listener.name))
                    .pages
                    .entry(path)
                    .or_insert_with(|| Arc::clone(content));
            }
        }
        self.open.retain(|at, listener| {
            let Some(wanted) = wanted.remove(at) else {
                listener.stop.cancel();
                return false;
            };
            listener.name = wanted.name;
            listener.pages.store(Arc::new(wanted.pages));
            true
        });
    }

    /// Where the listeners listen; tells the port when 0 was asked for.
    pub fn local_addresses(&self) -> Vec<(HttpAddress, SocketAddr)> {
        self.open.values().map(|listener| (listener.name.clone(), listener.local)).collect()
    }

    /// Answers what was asked already, then closes all sockets.
    pub async fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        open.values().for_each(|listener| listener.stop.cancel());
        for listener in open.into_values() {
            let _ = listener.task.await;
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        for listener in self.open.values() {
            listener.stop.cancel();
        }
    }
}

impl Opened {
    fn give_up(&mut self, at: SocketAddr, error: &io::Error) {
        if let Some(wanted) = self.wanted.remove(&at) {
            tracing::error!("cannot listen on {}: {error}", wanted.name);
            self.unopened.extend(wanted.pages);
        }
    }
}

impl Listener {
    fn start(wanted: &Wanted, socket: Socket) -> io::Result<Listener> {
        socket.listen(TCP_BACKLOG as i32)?;
        let socket = TcpListener::from_std(socket.into())?;
        let local = socket.local_addr()?;
        let pages = Arc::new(ArcSwap::from_pointee(wanted.pages.clone()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve::serve(socket, Arc::clone(&pages), stop.clone()));
        Ok(Listener { name: wanted.name.clone(), pages, local, stop, task })
    }
}

/// The pages of each address, however it is written.
fn group(pages: &[Page]) -> BTreeMap<SocketAddr, Wanted> {
    let mut wanted: BTreeMap<SocketAddr, Wanted> = BTreeMap::new();
    for page in pages {
        wanted
            .entry(socket_address(&page.address))
            .or_insert_with(|| Wanted::nothing_at(&page.address))
            .pages
            .insert(page.path, Arc::clone(&page.content));
    }
    wanted
}

/// Where to listen. The wildcard of a machine without IPv6 is IPv4's.
fn socket_address(address: &HttpAddress) -> SocketAddr {
    let at = address.socket_address();
    let no_family = |error: io::Error| error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    if at.is_ipv6()
        && at.ip().is_unspecified()
        && Socket::new(Domain::IPV6, Type::STREAM, None).is_err_and(no_family)
    {
        return SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port());
    }
    at
}

/// Whether it means all addresses of a port. Each port 0 is another one.
fn is_wildcard(at: &SocketAddr) -> bool {
    at.ip().is_unspecified() && at.port() != 0
}

/// Whether the first is a wildcard that the second belongs to. IPv6's wildcard is also that of IPv4.
fn includes(all: &SocketAddr, at: &SocketAddr) -> bool {
    is_wildcard(all) && at.port() == all.port() && (all.is_ipv6() || at.is_ipv4())
}

/// A page that is to be had at all addresses is also to be had at those that have a listener of their own.
fn share_pages(wanted: &mut BTreeMap<SocketAddr, Wanted>) {
    let wildcards: Vec<(SocketAddr, Pages)> = wanted
        .iter()
        .filter(|(at, _)| is_wildcard(at))
        .map(|(at, wanted)| (*at, wanted.pages.clone()))
        .collect();
    for (all, pages) in &wildcards {
        for (_, wanted) in wanted.iter_mut().filter(|(at, _)| includes(all, at)) {
            for (path, content) in pages {
                wanted.pages.entry(path).or_insert_with(|| Arc::clone(content));
            }
        }
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
            required: None,
        };
        // With one thread, no task runs unless somebody waits for it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be started").block_on(async {
            let mut admin = Admin::default();
            for pages in [std::slice::from_ref(&page), &[], std::slice::from_ref(&page), &[]] {
                let opened = admin.open(pages).unwrap_or_else(|(.., error)| panic!("{error}"));
                admin.apply(opened);
                assert_eq!(admin.open.len(), pages.len());
            }
        });
    }
    fn content_of(pages: &Pages) -> Vec<(&'static str, String)> {
        let mut content: Vec<_> = pages.iter().map(|(path, make)| (*path, make().body)).collect();
        content.sort_unstable();
        content
    }

    #[test]
    fn texts_that_mean_the_same_address_share_a_listener_and_overlapping_ones_their_pages() {
        let page = |(address, path): &(&str, &'static str)| Page {
            address: HttpAddress::parse(address).expect("an address"),
            path,
            content: Arc::new({
                let address = (*address).to_owned();
                move || PageContent::text(200, address.clone())
            }),
            required: None,
        };
        type Expected<'a> = &'a [&'a [(&'a str, &'a str)]];
        let cases: &[(&[(&str, &str)], Expected<'_>)] = &[
            (
                &[("localhost:1", "/health"), ("127.0.0.1:1", "/ready")],
                &[&[("/health", "localhost:1"), ("/ready", "127.0.0.1:1")]],
            ),
            (
                &[(":1", "/health"), ("[::]:1", "/ready")],
                &[&[("/health", ":1"), ("/ready", "[::]:1")]],
            ),
            (
                &[("127.0.0.1:1", "/ready"), ("0.0.0.0:1", "/health"), ("0.0.0.0:1", "/ready")],
                &[
                    &[("/health", "0.0.0.0:1"), ("/ready", "0.0.0.0:1")],
                    &[("/health", "0.0.0.0:1"), ("/ready", "127.0.0.1:1")],
                ],
            ),
            (
                &[("0.0.0.0:1", "/health"), ("[::1]:1", "/ready"), ("0.0.0.0:2", "/ready")],
                &[
                    &[("/health", "0.0.0.0:1")],
                    &[("/ready", "0.0.0.0:2")],
                    &[("/ready", "[::1]:1")],
                ],
            ),
            (
                &[("0.0.0.0:0", "/health"), ("127.0.0.1:0", "/ready")],
                &[&[("/health", "0.0.0.0:0")], &[("/ready", "127.0.0.1:0")]],
            ),
        ];
        for (pages, expected) in cases {
            let pages: Vec<Page> = pages.iter().map(page).collect();
            let mut wanted = group(&pages);
            share_pages(&mut wanted);
            let found: Vec<_> = wanted.values().map(|wanted| content_of(&wanted.pages)).collect();
            let expected: Vec<Vec<_>> = expected
                .iter()
                .map(|pages| pages.iter().map(|(path, body)| (*path, (*body).to_owned())).collect())
                .collect();
            assert_eq!(found, expected);
        }
    }
}
