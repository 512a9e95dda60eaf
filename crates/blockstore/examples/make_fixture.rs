//! Writes the store that tests/formats/blockstore-v1 keeps: `make_fixture DIR`. Run once for
//! each format version, when it is new; the result is never written again.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use blockstore::{DomainSecret, Options, Store};
use model::{IdGen, SeededIdGen};

const BLOCK: usize = 4096;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededIdGen::new(seed).fill(&mut bytes);
    bytes
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("which directory?")?;
    let store =
        Store::open(Store::local(Path::new(&dir))?, Arc::new(SeededIdGen::new(42)), Options::default())
            .await?;
    let domain = store.domain("acct-1", &DomainSecret::new([7; 32]));
    let mut writer = domain.writer(None, 12 << 20).await?;
    writer.write(0, &noise(1, 40 * BLOCK)).await?;
    writer.write(9 << 20, &vec![0x5a; 70 * BLOCK]).await?;
    let (first, _) = writer.commit().await?;
    let mut writer = domain.writer(Some(&first), 16 << 20).await?;
    writer.write(2 * BLOCK as u64, &noise(2, BLOCK)).await?;
    writer.zero(9 << 20, BLOCK as u64).await?;
    let (second, _) = writer.commit().await?;
    domain.publish("first", &first, None).await?;
    domain.publish("second", &second, Some(&first)).await?;
    Ok(())
}
