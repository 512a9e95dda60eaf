//! Reads and writes collection records: `gc/<domain>/<epoch>`, each the whole state.

use crate::domain::DomainInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::collection::{Collection, RECORD_BYTES_MAX};
use crate::objects::{Put, folder, named};

/// Old records tell a person what happened; a machine needs the newest only.
const KEPT: u64 = 32;

/// The newest record; the state before the first collection where there is none.
pub(super) async fn newest(domain: &DomainInner) -> Result<Collection> {
    match newest_epoch(domain).await? {
        0 => Ok(Collection::default()),
        epoch => {
            let path = named("gc", &domain.keys.domain, &name(epoch));
            Collection::parse(&domain.keys, epoch, &domain.store.objects.get(&path, RECORD_BYTES_MAX).await?)
        }
    }
}

/// 0 where nothing was ever collected.
pub(super) async fn newest_epoch(domain: &DomainInner) -> Result<u64> {
    Ok(epochs(domain).await?.into_iter().max().unwrap_or(0))
}

async fn epochs(domain: &DomainInner) -> Result<Vec<u64>> {
    let metas = domain.store.objects.list(&folder("gc", &domain.keys.domain)).await?;
    let epoch = |name: &str| u64::from_str_radix(name, 16).ok().filter(|epoch| self::name(*epoch) == name);
    Ok(metas.iter().filter_map(|meta| epoch(meta.location.filename()?)).collect())
}

/// Stores a record, which must be one newer than the newest there is.
pub(super) async fn put(domain: &DomainInner, record: &Collection) -> Result<()> {
    let salt = model::id_gen::random_bytes(&*domain.store.ids);
    let path = named("gc", &domain.keys.domain, &name(record.epoch));
    let bytes = record.encode(&domain.keys, salt).into();
    let put = domain.store.objects.put_new(&path, bytes).await?;
    // Also where the put succeeded: the name of an old record that was removed is free again.
    let epochs = epochs(domain).await?;
    if put == Put::Existed || epochs.iter().any(|epoch| *epoch > record.epoch) {
        return Err(Error::new(ErrorKind::Conflict, format!("put {path}: another collector was first")));
    }
    for old in epochs.into_iter().filter(|epoch| epoch + KEPT <= record.epoch) {
        domain.store.objects.delete(&named("gc", &domain.keys.domain, &name(old))).await?;
    }
    Ok(())
}

fn name(epoch: u64) -> String {
    format!("{epoch:016x}")
}
