//! The answering side: accepts connections, reads requests, answers in their order.
//!
//! Requests of one connection *begin* strictly one after the other, but a later one begins while an earlier one still
//! waits (an `acks=all` produce for its followers, a fetch for data). Kafka reads the next request only when the last
//! one was answered; the order that a client sees is the same, and a producer with five requests under way need not
//! wait a round trip for each.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::sync::mpsc;

use super::{Shutdown, next_frame};
use crate::{
    base::Time,
    protocol::{
        api::{self, ApiRange},
        frame::{self, Request, RequestError},
        messages::{ApiKey, ResponseKind},
    },
    runtime::{Label, Message, clock, net, task},
    trace::{self, EventId},
};

/// Requests of one connection that may wait for their answers at a time. More are not read.
const OUTSTANDING_MAX: usize = 64;

/// What serves the requests of a listener.
pub trait Service: Send + Sync + 'static {
    /// The APIs and versions served.
    fn served(&self) -> &'static [ApiRange];

    /// Takes a request. What must happen in the order of requests happens before this returns; the answer may come
    /// later.
    fn begin(self: Arc<Self>, peer: &Peer, request: Request) -> impl Future<Output = Reply> + Send;
}

/// The answer to a request.
pub enum Reply {
    /// At once.
    Now(Box<ResponseKind>),
    /// When the future is ready.
    Later(Pin<Box<dyn Future<Output = ResponseKind> + Send>>),
    /// None: a produce with acks=0.
    Nothing,
    /// None, and the connection is closed: the only way to tell a producer with acks=0 of an error.
    Close,
}

impl Reply {
    /// An answer that is ready.
    pub fn now(body: impl Into<ResponseKind>) -> Self {
        Self::Now(Box::new(body.into()))
    }

    /// An answer that comes when `future` is ready.
    pub fn later(future: impl Future<Output = ResponseKind> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: String,
    /// Number of the connection on this listener.
    pub connection: u64,
}

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `connections.max.idle.ms`.
    pub idle_max: Duration,
}

/// Serves `listener` until `shutdown`, then closes its connections.
pub async fn serve<S: Service>(listener: net::Listener, service: Arc<S>, options: Options, shutdown: Shutdown) {
    let table = Arc::new(Table::default());
    task::spawn(close_idle(table.clone(), options.idle_max, shutdown.clone()));
    let mut next_connection = 0;
    while let Some(accepted) = shutdown.or(listener.accept()).await {
        match accepted {
            Ok((reader, writer, address)) => {
                next_connection += 1;
                let peer = Peer { address, connection: next_connection };
                let open = table.open(next_connection);
                task::spawn(read_requests(service.clone(), peer, open, reader, writer, options, table.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                clock::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    table.close_all();
}

/// The open connections of a listener.
#[derive(Default)]
struct Table(Mutex<BTreeMap<u64, Arc<Open>>>);

struct Open {
    last_active_ns: AtomicU64,
    close: Shutdown,
}

impl Table {
    fn open(&self, connection: u64) -> Arc<Open> {
        let open = Arc::new(Open { last_active_ns: AtomicU64::new(clock::now().0), close: Shutdown::default() });
        self.0.lock().expect("no panic while the table is held").insert(connection, open.clone());
        open
    }

    fn forget(&self, connection: u64) {
        self.0.lock().expect("no panic while the table is held").remove(&connection);
    }

    fn close_all(&self) {
        self.0.lock().expect("no panic while the table is held").values().for_each(|open| open.close.trigger());
    }
}

async fn close_idle(table: Arc<Table>, idle_max: Duration, shutdown: Shutdown) {
    while shutdown.or(clock::sleep(idle_max / 4)).await.is_some() {
        let now = clock::now();
        let connections = table.0.lock().expect("no panic while the table is held");
        for open in connections.values() {
            if now.since(Time(open.last_active_ns.load(Ordering::Relaxed))) > idle_max {
                open.close.trigger();
            }
        }
    }
}

/// A reply on its way to the writer, in the order of the requests.
struct Outgoing {
    api: ApiKey,
    version: i16,
    correlation: i32,
    reply: Reply,
    cause: Option<EventId>,
}

async fn read_requests<S: Service>(
    service: Arc<S>,
    peer: Peer,
    open: Arc<Open>,
    mut reader: net::Reader,
    writer: net::Writer,
    options: Options,
    table: Arc<Table>,
) {
    let (replies, waiting) = mpsc::channel(OUTSTANDING_MAX);
    task::spawn(write_replies(service.served(), writer, waiting, open.clone()));
    let mut buffer = BytesMut::new();
    let reading = async {
        loop {
            match next_frame(&mut buffer, options.request_bytes_max) {
                Ok(Some(frame)) => {
                    let cause = reader.cause();
                    let outgoing = match frame::decode_request(frame, service.served()) {
                        Ok(request) => {
                            let (api, version, correlation) = (request.api, request.version, request.correlation);
                            let begin = service.clone().begin(&peer, request);
                            let reply = trace::caused_by(cause, begin).await;
                            Outgoing { api, version, correlation, reply, cause }
                        }
                        Err(RequestError::UnservedApiVersions { correlation, .. }) => {
                            // `version: -1` stands for the answer in version 0 that every client understands.
                            Outgoing {
                                api: ApiKey::ApiVersions,
                                version: -1,
                                correlation,
                                reply: Reply::Nothing,
                                cause,
                            }
                        }
                        Err(error) => break Some(error.to_string()),
                    };
                    if replies.send(outgoing).await.is_err() {
                        break None;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(problem) => break Some(problem),
            }
            // Closing ends the wait for a request, never a request that has begun: half a change would stay.
            match open.close.or(reader.read(&mut buffer)).await {
                Some(Ok(count)) if count > 0 => open.last_active_ns.store(clock::now().0, Ordering::Relaxed),
                _ => break None,
            }
        }
    };
    if let Some(problem) = reading.await {
        tracing::warn!(peer = %peer.address, problem, "closed a connection");
    }
    open.close.trigger();
    table.forget(peer.connection);
}

async fn write_replies(
    served: &'static [ApiRange],
    mut writer: net::Writer,
    mut waiting: mpsc::Receiver<Outgoing>,
    open: Arc<Open>,
) {
    let writing = async {
        while let Some(outgoing) = waiting.recv().await {
            let Outgoing { api, version, correlation, reply, cause } = outgoing;
            let chunks = match reply {
                Reply::Nothing if version < 0 => Ok(frame::unserved_api_versions_response(correlation, served)),
                Reply::Nothing => continue,
                Reply::Close => break,
                Reply::Now(body) => frame::encode_response(api, version, correlation, &body),
                Reply::Later(future) => {
                    let body = trace::caused_by(cause, future).await;
                    frame::encode_response(api, version, correlation, &body)
                }
            };
            let chunks = match chunks {
                Ok(chunks) => chunks,
                Err(error) => {
                    tracing::error!(%error, "a response could not be written; closing the connection");
                    break;
                }
            };
            // One of an unserved version is answered in version 0.
            let label = Label { api: api::name(api), version: version.max(0), request: false, correlation, cause };
            if writer.write(Message { chunks, label }).await.is_err() {
                break;
            }
            open.last_active_ns.store(clock::now().0, Ordering::Relaxed);
        }
    };
    open.close.or(writing).await;
    open.close.trigger();
}
