//! One broker's way to the controller: a connection that is made again when it fails.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use crate::{
    protocol::messages::RequestKind,
    rpc::{Answer, Connection, RpcError},
};

/// Calls the controller. Calls go out in order on one connection.
pub struct ControllerChannel {
    address: String,
    client_id: String,
    timeout: Duration,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl ControllerChannel {
    /// A channel to `address` whose calls wait at most `timeout`.
    pub fn new(address: &str, client_id: &str, timeout: Duration) -> Self {
        Self { address: address.to_owned(), client_id: client_id.to_owned(), timeout, connection: Mutex::default() }
    }

    /// Asks the controller. The caller decides whether to try again.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn call(&self, body: RequestKind, version: i16) -> Result<Answer, RpcError> {
        let connection = {
            let mut current = self.connection.lock().await;
            match &*current {
                Some(open) if !open.is_closed() => open.clone(),
                _ => current.insert(Connection::connect(&self.address, &self.client_id, self.timeout).await?).clone(),
            }
        };
        connection.call(body, version, self.timeout).await
    }
}
