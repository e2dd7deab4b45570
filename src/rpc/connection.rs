//! The calling side: many requests under way on one connection, answered in order.
//!
//! As in Kafka's clients a request that is not answered in time ends the whole connection: its answer might still come
//! and everything behind it waits. A call is either answered or fails, and every call fails once the connection has.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use bytes::BytesMut;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Shutdown, next_frame};
use crate::{
    base::Time,
    protocol::{
        ErrorCode, api,
        frame::{self, EncodeError},
        messages::{ApiKey, ApiVersionsRequest, RequestKind, ResponseKind},
    },
    runtime::{Label, Message, clock, net, task},
    trace::{self, EventId},
};

/// Largest response accepted: more than any fetch asks for.
const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// Why a call has no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RpcError {
    /// The connection could not be made.
    #[error("cannot connect to {address}: {problem}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system says.
        problem: String,
    },
    /// The connection ended before the answer came: the request may or may not have been carried out.
    #[error("disconnected from {address}")]
    Disconnected {
        /// From where.
        address: String,
    },
    /// No answer in time: the request may or may not have been carried out. The connection has ended.
    #[error("{api} to {address} was not answered within {timeout_ms} ms")]
    TimedOut {
        /// From where.
        address: String,
        /// The API.
        api: &'static str,
        /// The limit.
        timeout_ms: u128,
    },
    /// The answer could not be read. The connection has ended.
    #[error("{api} response from {address}: {problem}")]
    Malformed {
        /// From where.
        address: String,
        /// The API.
        api: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The request cannot be written in this version; nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The other side does not serve a version that we speak; nothing was sent.
    #[error("{address} serves {api} in versions {theirs:?}, we speak {ours:?}")]
    NoCommonVersion {
        /// The other side.
        address: String,
        /// The API.
        api: &'static str,
        /// What it serves, if it serves the API.
        theirs: Option<(i16, i16)>,
        /// What we speak.
        ours: (i16, i16),
    },
}

impl RpcError {
    /// Whether the request was sent: the other side may have carried it out, or may do so yet.
    pub fn may_be_carried_out(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::TimedOut { .. } | Self::Malformed { .. })
    }
}

/// An answer, with the event that put it on the wire.
#[derive(Debug)]
pub struct Answer {
    /// The response.
    pub body: ResponseKind,
    /// For the causes in the journal.
    pub cause: Option<EventId>,
}

/// One connection to a broker or controller.
pub struct Connection {
    shared: Arc<Shared>,
    outgoing: mpsc::UnboundedSender<Message>,
    versions: OnceLock<BTreeMap<i16, (i16, i16)>>,
}

struct Shared {
    address: String,
    client_id: String,
    state: Mutex<State>,
    /// Rung when the oldest deadline may have changed.
    changed: Notify,
    closed: Shutdown,
}

struct State {
    next_correlation: i32,
    waiting: VecDeque<Waiting>,
}

/// A request that was sent and not answered yet.
struct Waiting {
    correlation: i32,
    api: ApiKey,
    version: i16,
    deadline: Time,
    timeout: Duration,
    answer: oneshot::Sender<Result<Answer, RpcError>>,
}

impl Connection {
    /// Connects to `address`; `client_id` is told with every request.
    ///
    /// # Errors
    /// [`RpcError::Connect`] when it is refused or takes longer than `limit`.
    pub async fn connect(address: &str, client_id: &str, limit: Duration) -> Result<Arc<Self>, RpcError> {
        let failed = |problem: String| RpcError::Connect { address: address.to_owned(), problem };
        let (reader, writer) = clock::timeout(limit, net::connect(address))
            .await
            .map_err(|_| failed(format!("no answer within {} ms", limit.as_millis())))?
            .map_err(|error| failed(error.to_string()))?;
        let (outgoing, messages) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            client_id: client_id.to_owned(),
            state: Mutex::new(State { next_correlation: 0, waiting: VecDeque::new() }),
            changed: Notify::new(),
            closed: Shutdown::default(),
        });
        task::spawn(write_all(shared.clone(), writer, messages));
        task::spawn(read_all(shared.clone(), reader));
        task::spawn(watch_deadlines(shared.clone()));
        Ok(Arc::new(Self { shared, outgoing, versions: OnceLock::new() }))
    }

    /// Sends a request and waits for its answer, at most for `timeout`.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn call(&self, body: RequestKind, version: i16, timeout: Duration) -> Result<Answer, RpcError> {
        let answer = self.send(&body, version, timeout)?;
        answer.await.unwrap_or_else(|_| Err(self.shared.disconnected()))
    }

    /// Puts a request on the wire, in the order of the calls; the answer comes later.
    ///
    /// # Errors
    /// It cannot be written, or the connection has ended.
    pub fn send(
        &self,
        body: &RequestKind,
        version: i16,
        timeout: Duration,
    ) -> Result<oneshot::Receiver<Result<Answer, RpcError>>, RpcError> {
        let api = frame::key_of(body);
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        if self.shared.closed.is_triggered() {
            return Err(self.shared.disconnected());
        }
        let correlation = state.next_correlation;
        let chunks = frame::encode_request(body, version, correlation, &self.shared.client_id)?;
        state.next_correlation = correlation.wrapping_add(1) & i32::MAX;
        let expects_answer = !matches!(body, RequestKind::Produce(produce) if produce.acks == 0);
        if expects_answer {
            let deadline = clock::now() + timeout;
            state.waiting.push_back(Waiting { correlation, api, version, deadline, timeout, answer: sender });
        } else {
            let none = ResponseKind::Produce(Default::default());
            let _ = sender.send(Ok(Answer { body: none, cause: None }));
        }
        let label = Label { api: api::name(api), version, request: true, correlation, cause: trace::current_cause() };
        let sent = self.outgoing.send(Message { chunks, label });
        drop(state);
        self.shared.changed.notify_one();
        sent.map(|()| receiver).map_err(|_| self.shared.disconnected())
    }

    /// Learns which versions the other side serves. Done once; needed before [`Connection::version_for`].
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn negotiate(&self, timeout: Duration) -> Result<(), RpcError> {
        if self.versions.get().is_some() {
            return Ok(());
        }
        let request = || {
            let name = ApiVersionsRequest::default().with_client_software_name("highwater".to_owned().into());
            name.with_client_software_version(env!("CARGO_PKG_VERSION").to_owned().into())
        };
        let mut answer = self.call(RequestKind::ApiVersions(request()), 3, timeout).await?;
        if matches!(&answer.body, ResponseKind::ApiVersions(r) if r.error_code == ErrorCode::UnsupportedVersion.code())
        {
            answer = self.call(RequestKind::ApiVersions(request()), 0, timeout).await?;
        }
        if let ResponseKind::ApiVersions(response) = answer.body {
            let ranges = response.api_keys.iter().map(|key| (key.api_key, (key.min_version, key.max_version)));
            // A second negotiation at the same time learns the same.
            let _ = self.versions.set(ranges.collect());
        }
        Ok(())
    }

    /// The highest version of `api` that both sides speak, after [`Connection::negotiate`].
    ///
    /// # Errors
    /// [`RpcError::NoCommonVersion`].
    pub fn version_for(&self, api: ApiKey, ours: (i16, i16)) -> Result<i16, RpcError> {
        let theirs = self.versions.get().and_then(|versions| versions.get(&(api as i16))).copied();
        let common = theirs.map(|(min, max)| (min.max(ours.0), max.min(ours.1))).filter(|(min, max)| min <= max);
        common.map(|(_, max)| max).ok_or_else(|| RpcError::NoCommonVersion {
            address: self.shared.address.clone(),
            api: api::name(api),
            theirs,
            ours,
        })
    }

    /// Number of requests that wait for their answers.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting.len()
    }

    /// What a call is told that was given up: the request may or may not have been carried out.
    pub fn disconnected(&self) -> RpcError {
        self.shared.disconnected()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.is_triggered()
    }

    /// Where it goes.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Ends the connection; calls under way fail as disconnected.
    pub fn close(&self) {
        let disconnected = self.shared.disconnected();
        self.shared.fail_all(&disconnected);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while a connection's queue is held")
    }

    fn disconnected(&self) -> RpcError {
        RpcError::Disconnected { address: self.address.clone() }
    }

    /// Ends the connection: the oldest call fails with `first`, all others as disconnected.
    fn fail_all(&self, first: &RpcError) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        self.closed.trigger();
        let mut error = first.clone();
        for call in waiting {
            let _ = call.answer.send(Err(std::mem::replace(&mut error, self.disconnected())));
        }
    }
}

async fn write_all(shared: Arc<Shared>, mut writer: net::Writer, mut messages: mpsc::UnboundedReceiver<Message>) {
    let writing = async {
        while let Some(message) = messages.recv().await {
            if writer.write(message).await.is_err() {
                break;
            }
        }
    };
    shared.closed.or(writing).await;
    shared.fail_all(&shared.disconnected());
}

async fn read_all(shared: Arc<Shared>, mut reader: net::Reader) {
    let mut buffer = BytesMut::new();
    let reading = async {
        loop {
            match next_frame(&mut buffer, RESPONSE_BYTES_MAX) {
                Ok(Some(frame)) => {
                    if let Err(error) = answer(&shared, frame, reader.cause()) {
                        break error;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(_) => break shared.disconnected(),
            }
            match reader.read(&mut buffer).await {
                Ok(count) if count > 0 => {}
                _ => break shared.disconnected(),
            }
        }
    };
    let error = shared.closed.or(reading).await.unwrap_or_else(|| shared.disconnected());
    shared.fail_all(&error);
}

/// Gives a response to the oldest call.
fn answer(shared: &Shared, frame: bytes::Bytes, cause: Option<EventId>) -> Result<(), RpcError> {
    let Some((api, version, expected)) =
        shared.lock().waiting.front().map(|call| (call.api, call.version, call.correlation))
    else {
        return Err(shared.disconnected());
    };
    let malformed =
        |problem: String| RpcError::Malformed { address: shared.address.clone(), api: api::name(api), problem };
    // An ApiVersions request that is too new is answered in version 0.
    let decoded = frame::decode_response(api, version, frame.clone()).or_else(|problem| match api {
        ApiKey::ApiVersions => frame::decode_response(api, 0, frame),
        _ => Err(problem),
    });
    let (correlation, body) = decoded.map_err(malformed)?;
    if correlation != expected {
        return Err(malformed(format!("correlation id {correlation}, expected {expected}")));
    }
    let call = shared.lock().waiting.pop_front().expect("only this task takes answered calls");
    let _ = call.answer.send(Ok(Answer { body, cause }));
    Ok(())
}

/// Ends the connection when its oldest call is overdue. One timer for all calls.
async fn watch_deadlines(shared: Arc<Shared>) {
    loop {
        let oldest = shared.lock().waiting.iter().map(|call| call.deadline).min();
        let Some(deadline) = oldest else {
            if shared.closed.or(shared.changed.notified()).await.is_none() {
                return;
            }
            continue;
        };
        if clock::now() < deadline {
            if shared.closed.or(clock::sleep_until(deadline)).await.is_none() {
                return;
            }
            continue;
        }
        let overdue = {
            let mut state = shared.lock();
            let now = clock::now();
            let index = state.waiting.iter().position(|call| call.deadline <= now);
            index.and_then(|index| state.waiting.remove(index))
        };
        if let Some(call) = overdue {
            let timeout_ms = call.timeout.as_millis();
            let error = RpcError::TimedOut { address: shared.address.clone(), api: api::name(call.api), timeout_ms };
            let _ = call.answer.send(Err(error));
            shared.fail_all(&shared.disconnected());
            return;
        }
    }
}
