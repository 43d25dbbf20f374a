//! What a request says about who asks.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use kube::Config;
use kube::client::{Body, ConfigExt as _};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

use super::failure::{Failure, with_causes};
use super::token::TokenFile;

/// Where the value of `Authorization` comes from.
pub(super) enum Credentials {
    /// A file.
    File(TokenFile),
    /// What `kube` makes of a kubeconfig.
    Kube(Kube),
    /// Nowhere: there is none.
    None,
}

/// Credentials of `kube`, which runs the program that gives them again before they end: beside the requests, as the program may hang.
pub(super) struct Kube {
    asker: BoxCloneSyncService<Request<Body>, Response<Option<HeaderValue>>, BoxError>,
    asking: OneAtATime<Result<Response<Option<HeaderValue>>, BoxError>>,
    header: Option<HeaderValue>,
}

impl Credentials {
    /// May run a program.
    pub(super) fn of(config: &Config) -> Result<Credentials, kube::Error> {
        let Some(layer) = config.auth_layer()? else { return Ok(Credentials::None) };
        let asker = layer.layer(service_fn(|request: Request<Body>| async move {
            Ok::<_, BoxError>(Response::new(request.headers().get(AUTHORIZATION).cloned()))
        }));
        let asker = BoxCloneSyncService::new(asker);
        Ok(Credentials::Kube(Kube { asker, asking: OneAtATime::default(), header: None }))
    }

    /// The value, or the last one if a new one is not to be had, or not in time.
    pub(super) async fn header(&mut self, time: Duration) -> Result<Option<HeaderValue>, Failure> {
        Ok(match self {
            Credentials::File(token) => Some(token.header()),
            Credentials::Kube(Kube { asker, asking, header }) => {
                let ask = || tokio::spawn(asker.clone().oneshot(Request::new(Body::empty())));
                match asking.get(time, ask).await {
                    Some(Ok(Ok(answer))) => *header = answer.into_body(),
                    Some(Ok(Err(error))) if header.is_none() => {
                        return Err(Failure::Configuration(with_causes(error.as_ref())));
                    }
                    _ => {}
                }
                header.clone()
            }
            Credentials::None => None,
        })
    }
}

/// Work that may never end, so that nobody begins it a second time before it has.
pub(super) struct OneAtATime<T>(Option<JoinHandle<T>>);

impl<T> Default for OneAtATime<T> {
    fn default() -> OneAtATime<T> {
        OneAtATime(None)
    }
}

impl<T> OneAtATime<T> {
    /// What comes of it; `None`: nothing yet. Whoever begins it waits, but if that is in vain, those who come then only look.
    pub(super) async fn get(
        &mut self,
        time: Duration,
        begin: impl FnOnce() -> JoinHandle<T>,
    ) -> Option<Result<T, JoinError>> {
        let time = if self.0.is_none() { time } else { Duration::ZERO };
        let done = timeout(time, self.0.get_or_insert_with(begin)).await.ok()?;
        self.0 = None;
        Some(done)
    }
}
