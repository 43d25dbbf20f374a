//! Requests to the API server.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use periplus_core::metrics::Registry;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::check::client;
use super::failure::{Failure, with_causes};
use super::limit::Limiter;
use super::metrics::RequestMetrics;
use super::{Origin, Settings, Timing};

/// How much of an answer that says what is wrong is read, and for how long.
const MAX_COMPLAINT: usize = 16 << 10;
const COMPLAINT_TIME: Duration = Duration::from_secs(2);

/// The API server, as all kinds of objects share it.
pub(super) struct Connection {
    origin: Origin,
    limiter: Limiter,
    registry: Arc<Registry>,
    answer: Duration,
    live: Mutex<Option<Live>>,
}

/// A client with the credentials and certificates that were read when it was made.
#[derive(Clone)]
struct Live {
    client: kube::Client,
    metrics: Arc<RequestMetrics>,
    made: Instant,
}

impl Connection {
    pub(super) fn new(
        settings: &Settings,
        timing: &Timing,
        registry: &Arc<Registry>,
    ) -> Connection {
        Connection {
            origin: settings.origin.clone(),
            limiter: Limiter::new(settings.qps, settings.burst, settings.max_inflight),
            registry: Arc::clone(registry),
            answer: timing.answer,
            live: Mutex::new(None),
        }
    }

    /// Asks for a path and returns the answer, whose body is still to come.
    ///
    /// `kube` reads a token file once a minute, and the service account's certificate authority too. After a failure that may come from
    /// them, or from anything else that was read when the client was made, the next request makes a new client.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Body>, Failure> {
        let live = self.live().await?;
        let waiting = Instant::now();
        let permit = self.limiter.wait().await;
        live.metrics.limited(waiting.elapsed());
        let sent = Instant::now();
        let result = self.send(&live, path).await;
        drop(permit);
        let code = result.as_ref().ok().map(|answer| answer.status().as_u16());
        live.metrics.answered(sent.elapsed(), code);
        let result = match result {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) => Err(complaint(answer).await),
            Err(failure) => Err(failure),
        };
        if result.as_ref().is_err_and(Failure::wants_new_client) {
            self.renew(live.made).await;
        }
        result
    }

    /// The connection of a watch is dead: others of this client may be too.
    pub(super) async fn distrust(&self) {
        if let Some(live) = self.live.lock().await.take() {
            drop(live);
        }
    }

    async fn send(&self, live: &Live, path: &str) -> Result<Response<Body>, Failure> {
        let request =
            Request::get(path).header(http::header::ACCEPT, "application/json").body(Body::empty());
        let request = request.map_err(|error| Failure::Configuration(error.to_string()))?;
        match timeout(self.answer, live.client.send(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Auth(error))) => Err(Failure::Configuration(with_causes(&error))),
            Ok(Err(kube::Error::Service(error))) => {
                Err(Failure::Connect(with_causes(error.as_ref())))
            }
            Ok(Err(error)) => Err(Failure::Connect(with_causes(&error))),
            Err(_) => Err(Failure::Stalled(self.answer)),
        }
    }

    async fn live(&self) -> Result<Live, Failure> {
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref() {
            return Ok(live.clone());
        }
        let origin = self.origin.clone();
        let made = tokio::task::spawn_blocking(move || client(&origin)).await;
        let failure = |error: &dyn std::fmt::Display| Failure::Configuration(error.to_string());
        let (client, host) =
            made.map_err(|error| failure(&error))?.map_err(|error| failure(&error))?;
        let metrics = Arc::new(RequestMetrics::new(Arc::clone(&self.registry), &host));
        Ok(live.insert(Live { client, metrics, made: Instant::now() }).clone())
    }

    /// Forgets the client, unless another request has done so already.
    async fn renew(&self, made: Instant) {
        let mut live = self.live.lock().await;
        if live.as_ref().is_some_and(|live| live.made == made) {
            *live = None;
        }
    }
}

/// What the API server says in a `Status` object, or else the HTTP status alone.
async fn complaint(answer: Response<Body>) -> Failure {
    #[derive(serde::Deserialize)]
    struct Status {
        #[serde(default)]
        message: String,
    }
    let status = answer.status();
    if status == http::StatusCode::GONE {
        return Failure::Expired;
    }
    let body = timeout(
        COMPLAINT_TIME,
        http_body_util::Limited::new(answer.into_body(), MAX_COMPLAINT).collect(),
    )
    .await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let message =
        serde_json::from_slice(&body).map(|status: Status| status.message).unwrap_or_default();
    let separator = if message.is_empty() { "" } else { ": " };
    Failure::Status(status.as_u16(), format!("{status}{separator}{message}"))
}
