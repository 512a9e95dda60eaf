//! The stream of frames: a length of four bytes (big endian), then an Ethernet frame, both ways. This
//! is what QEMU's `-netdev stream` speaks.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::frame::{Frame, LENGTH_PREFIX_LEN};
use crate::port::Shared;
use crate::switch;

/// The most that a frame of the guest may have; beyond it the stream has lost its place.
const FRAME_BYTES_MAX: usize = 69_632;
const READ_BYTES: usize = 256 * 1024;
/// Frames written with one system call.
const WRITE_FRAMES: usize = 64;
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Where the machine's network card is.
#[derive(Debug)]
pub enum Frames {
    /// The card connects here, and again after its stream ended.
    Listener(UnixListener),
    /// One stream; when it ends, the port stays without a card.
    Stream(UnixStream),
}

/// Serves one card after another.
pub(crate) async fn run(shared: Arc<Shared>, frames: Frames, mut from_tasks: mpsc::Receiver<Frame>) {
    match frames {
        Frames::Listener(listener) => loop {
            let stream = accept(&listener, &mut from_tasks).await;
            from_tasks = serve(&shared, stream, from_tasks).await;
        },
        Frames::Stream(stream) => {
            from_tasks = serve(&shared, stream, from_tasks).await;
            while from_tasks.recv().await.is_some() {}
        }
    }
}

/// The next card. Meanwhile nobody receives what is sent.
async fn accept(listener: &UnixListener, from_tasks: &mut mpsc::Receiver<Frame>) -> UnixStream {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting a network card failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            _ = from_tasks.recv() => {}
        }
    }
}

/// Both directions until either ends; gives the queue back for the next card.
async fn serve(
    shared: &Arc<Shared>,
    stream: UnixStream,
    from_tasks: mpsc::Receiver<Frame>,
) -> mpsc::Receiver<Frame> {
    let (reader, writer) = stream.into_split();
    let ended = shared.cancel.child_token();
    let (give_back, back) = tokio::sync::oneshot::channel();
    let writing = write(Arc::clone(shared), writer, from_tasks, ended.clone());
    drop(shared.tasks.spawn(async move {
        let queue = writing.await;
        // When nobody waits for it any more, the port is ending.
        drop(give_back.send(queue));
    }));
    let outcome = ended.run_until_cancelled(read(shared, reader)).await;
    if let Some(Err(error)) = outcome {
        tracing::debug!(%error, "the network card's stream broke");
    }
    ended.cancel();
    match back.await {
        Ok(queue) => queue,
        Err(_) => std::future::pending().await,
    }
}

async fn read(shared: &Arc<Shared>, mut reader: OwnedReadHalf) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        while let Some(frame) = next_frame(&mut buffer)? {
            shared.count.packets_out.add(1);
            shared.count.bytes_out.add(frame.len());
            switch::from_guest(shared, &frame);
        }
        buffer.reserve(READ_BYTES);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// Takes one whole frame off the front; None while it is not all there yet.
fn next_frame(buffer: &mut BytesMut) -> io::Result<Option<BytesMut>> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_PREFIX_LEN>() else { return Ok(None) };
    let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if len > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame longer than any card sends"));
    }
    if buffer.len() < LENGTH_PREFIX_LEN + len {
        return Ok(None);
    }
    buffer.advance(LENGTH_PREFIX_LEN);
    Ok(Some(buffer.split_to(len)))
}

async fn write(
    shared: Arc<Shared>,
    mut writer: OwnedWriteHalf,
    mut from_tasks: mpsc::Receiver<Frame>,
    ended: CancellationToken,
) -> mpsc::Receiver<Frame> {
    let mut frames = Vec::with_capacity(WRITE_FRAMES);
    let writing = async {
        while from_tasks.recv_many(&mut frames, WRITE_FRAMES).await > 0 {
            write_all(&mut writer, &frames).await?;
            shared.count.packets_in.add(frames.len());
            shared.count.bytes_in.add(frames.iter().map(Frame::ethernet_len).sum());
            frames.clear();
        }
        io::Result::Ok(())
    };
    if let Some(Err(error)) = ended.run_until_cancelled(writing).await {
        tracing::debug!(%error, "the network card's stream broke");
    }
    ended.cancel();
    from_tasks
}

async fn write_all(writer: &mut OwnedWriteHalf, frames: &[Frame]) -> io::Result<()> {
    let mut slices: Vec<_> = frames.iter().map(|frame| IoSlice::new(frame.on_stream())).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = writer.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 1usize..50,
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
                stream.extend(frame);
            }
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = next_frame(&mut buffer).unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            prop_assert_eq!(seen, frames);
        }
    }

    #[test]
    fn a_senseless_length_breaks_the_stream() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 1][..]);
        assert!(next_frame(&mut buffer).is_err());
    }
}
