//! The stream of frames itself: cards that come and go.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::config;
use super::guest::{Guest, port};
use super::local::{echo_reply, echo_request};
use crate::Frames;

#[tokio::test]
async fn a_card_may_come_again_and_a_broken_stream_is_dropped() {
    let folder = std::env::temp_dir().join(format!("port-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("net.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (port, _metadata) = port(config(), Frames::Listener(listener));
    for seq in 0..3 {
        let mut guest = Guest::new(UnixStream::connect(&path).await.unwrap());
        let answer = guest.exchange(&echo_request("10.0.0.5", "10.0.0.1", seq, b""), echo_reply).await;
        assert_eq!(answer.1, seq);
        drop(guest);
        let mut broken = UnixStream::connect(&path).await.unwrap();
        broken.write_all(&[0xff; 64]).await.unwrap();
        assert_eq!(broken.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
    assert_eq!(port.counters().packets_in, 3);
    port.shutdown().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
