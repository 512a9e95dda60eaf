//! Serves the control socket.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::{Answer, Envelope, LINE_BYTES_MAX, PROTOCOL_VERSION, Request};
use crate::error::{Error, Kind, Result};

const CONNECTIONS_MAX: usize = 32;
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Answers requests on every connection, one after another on each, until the task is dropped.
pub(crate) async fn serve<H, F>(listener: UnixListener, handle: H)
where
    H: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Answer>> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let handle = handle.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, handle).await {
                        tracing::debug!(%error, "a control connection ended early");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept a control connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

async fn converse<H, F>(stream: UnixStream, handle: H) -> std::io::Result<()>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Answer>>,
{
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
        let answer = match parse(&line) {
            Ok(request) => handle(request).await.unwrap_or_else(Answer::from),
            Err(error) => Answer::from(error),
        };
        let mut bytes = serde_json::to_vec(&answer)?;
        bytes.push(b'\n');
        writer.write_all(&bytes).await?;
    }
}

fn parse(line: &[u8]) -> Result<Request> {
    let envelope: Envelope =
        serde_json::from_slice(line).map_err(|e| Error::caused(Kind::Invalid, "parse a request", e))?;
    if envelope.version != PROTOCOL_VERSION {
        let context = format!("request version {}, this is {PROTOCOL_VERSION}", envelope.version);
        return Err(Error::new(Kind::Invalid, context));
    }
    Ok(envelope.request)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_of_another_version_are_refused() {
        assert!(matches!(parse(br#"{"version": 1, "command": "status"}"#), Ok(Request::Status)));
        assert!(parse(br#"{"version": 2, "command": "status"}"#).is_err());
        assert!(parse(br#"{"version": 1, "command": "explode"}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_a_request_or_a_refusal(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&noise).is_err());
        }
    }
}
