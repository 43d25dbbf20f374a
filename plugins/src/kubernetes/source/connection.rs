//! Requests to the API server.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use periplus_core::metrics::Registry;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::check::SettingsError;
use super::client::client;
use super::credentials::{Credentials, OneAtATime};
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
    client_pause: Duration,
    client_time: Duration,
    slot: Mutex<Slot>,
}

/// The client, or why there is none.
#[derive(Default)]
struct Slot {
    live: Option<Live>,
    failed: Option<(Instant, Failure)>,
    /// The next one, which may take long: a program may be asked for credentials.
    making: OneAtATime<Result<(kube::Client, Credentials, String), SettingsError>>,
}

/// A client with the credentials and certificates that were read when it was made.
#[derive(Clone)]
struct Live {
    client: kube::Client,
    credentials: Arc<Mutex<Credentials>>,
    metrics: Arc<RequestMetrics>,
    made: Instant,
    /// What was read when it was made may be out of date.
    suspected: bool,
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
            client_pause: timing.client_pause,
            client_time: timing.client,
            slot: Mutex::default(),
        }
    }

    /// Asks for a path and returns the answer, whose body is still to come.
    ///
    /// A token file is read once a minute, and the service account's certificate authority too; other certificates and the kubeconfig
    /// never again. After a failure that may come from anything that was read when the client was made, the next request makes a new one,
    /// but not more often than a program that gives credentials may be run.
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
            self.suspect(live.made).await;
        }
        result
    }

    /// The connection of a watch is dead: others of this client may be too. It is forgotten as soon as another can be made.
    pub(super) async fn distrust(&self) {
        if let Some(live) = self.slot.lock().await.live.as_mut() {
            live.suspected = true;
        }
    }

    async fn send(&self, live: &Live, path: &str) -> Result<Response<Body>, Failure> {
        let request = Request::get(path).header(ACCEPT, "application/json").body(Body::empty());
        let mut request = request.map_err(|error| Failure::Configuration(error.to_string()))?;
        if let Some(header) = live.credentials.lock().await.header(self.client_time).await? {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        match timeout(self.answer, live.client.send(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Service(error))) => {
                Err(Failure::Connect(with_causes(error.as_ref())))
            }
            Ok(Err(error)) => Err(Failure::Connect(with_causes(&error))),
            Err(_) => Err(Failure::Stalled(self.answer)),
        }
    }

    /// The client, or a new one if it is suspected. When none can be made, what was read before may still be good: files can be away for a
    /// moment, and some are taken away once they were read.
    async fn live(&self) -> Result<Live, Failure> {
        let mut slot = self.slot.lock().await;
        let young = |time: Instant| time.elapsed() < self.client_pause;
        match (&slot.live, &slot.failed) {
            (Some(live), _) if !live.suspected || young(live.made) => return Ok(live.clone()),
            (Some(live), Some((time, _))) if young(*time) => return Ok(live.clone()),
            (None, Some((time, failure))) if young(*time) => return Err(failure.clone()),
            _ => {}
        }
        let origin = self.origin.clone();
        let begin = || tokio::task::spawn_blocking(move || client(&origin));
        let made = match slot.making.get(self.client_time, begin).await {
            Some(Ok(made)) => made.map_err(|error| error.to_string()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!(
                "credentials and certificates were not there after {} s",
                self.client_time.as_secs_f32()
            )),
        };
        match made {
            Ok((client, credentials, host)) => {
                slot.failed = None;
                let metrics = Arc::new(RequestMetrics::new(Arc::clone(&self.registry), &host));
                let credentials = Arc::new(Mutex::new(credentials));
                let made = Instant::now();
                let live = Live { client, credentials, metrics, made, suspected: false };
                Ok(slot.live.insert(live).clone())
            }
            Err(text) => {
                let failure = Failure::Configuration(text);
                let is_known = slot.failed.as_ref().is_some_and(|(_, known)| *known == failure);
                slot.failed = Some((Instant::now(), failure.clone()));
                let Some(live) = slot.live.clone() else { return Err(failure) };
                if !is_known {
                    tracing::warn!("plugin/kubernetes: {failure}; using what was read before");
                }
                Ok(live)
            }
        }
    }

    /// The next request makes a new client, as soon as this one is not new itself, and unless another request has done so already.
    async fn suspect(&self, made: Instant) {
        let mut slot = self.slot.lock().await;
        if let Some(live) = slot.live.as_mut().filter(|live| live.made == made) {
            live.suspected = true;
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
    // In seconds, as the API server writes it; a date is not worth its parser.
    let after = answer.headers().get(http::header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = timeout(
        COMPLAINT_TIME,
        http_body_util::Limited::new(answer.into_body(), MAX_COMPLAINT).collect(),
    )
    .await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let message =
        serde_json::from_slice(&body).map(|status: Status| status.message).unwrap_or_default();
    let separator = if message.is_empty() { "" } else { ": " };
    Failure::Status {
        code: status.as_u16(),
        text: format!("{status}{separator}{message}"),
        after: after.map(Duration::from_secs),
    }
}
