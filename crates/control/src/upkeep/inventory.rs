//! Everything that rows say of the snapshot store: which roots are needed, and by whom.

use std::collections::{BTreeMap, HashMap};

use blockstore::Root;
use metastore::{Metastore, Tx};
use model::{AccountId, Image, ImageId, Snapshot, SnapshotId, SnapshotState, Volume, VolumeId};
use serde::{Deserialize, Serialize};

use super::verify::Target;
use crate::failure::Failure;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotUse {
    pub snapshot_id: SnapshotId,
    pub owner_id: AccountId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUse {
    pub image_id: ImageId,
    pub name: String,
    pub owner_id: AccountId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUse {
    pub volume_id: VolumeId,
    pub owner_id: AccountId,
}

/// Who needs a root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    pub snapshots: Vec<SnapshotUse>,
    pub images: Vec<ImageUse>,
    pub volumes: Vec<VolumeUse>,
}

impl Users {
    pub(super) fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.images.is_empty() && self.volumes.is_empty()
    }
}

/// A domain, and the roots in it that somebody needs.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) domain: metastore::Domain,
    pub(super) roots: Vec<(Root, Users)>,
}

/// One moment's view.
pub(super) async fn inventory(metastore: &Metastore, target: &Target) -> Result<Vec<Holding>, Failure> {
    let mut tx = metastore.read().await?;
    let rows = rows(&mut tx, target).await?;
    let mut by_domain: BTreeMap<String, BTreeMap<String, Users>> = BTreeMap::new();
    let mut users_of = |root: &str| -> Result<(), Failure> {
        let domain = parse(root)?.domain().to_owned();
        by_domain.entry(domain).or_default().entry(root.to_owned()).or_default();
        Ok(())
    };
    for root in rows.roots() {
        users_of(root)?;
    }
    rows.name_users(&mut by_domain)?;
    let mut domains: HashMap<String, metastore::Domain> =
        tx.domains().await?.into_iter().map(|domain| (domain.domain.clone(), domain)).collect();
    let mut holdings = Vec::new();
    for (name, roots) in by_domain {
        let domain = domains.remove(&name);
        let domain = domain.ok_or_else(|| Failure::internal(format!("the domain {name} is unknown")))?;
        let roots = roots.into_iter().map(|(root, users)| Ok((parse(&root)?, users)));
        holdings.push(Holding { domain, roots: roots.collect::<Result<_, Failure>>()? });
    }
    Ok(holdings)
}

fn parse(root: &str) -> Result<Root, Failure> {
    root.parse().map_err(|error: blockstore::Error| Failure::internal(error))
}

/// The rows that a target is about.
#[derive(Debug, Default)]
struct Rows {
    snapshots: Vec<Snapshot>,
    /// Every image, of which those count that a snapshot above is used by.
    images: Vec<Image>,
    volumes: Vec<Volume>,
}

async fn rows(tx: &mut Tx, target: &Target) -> Result<Rows, Failure> {
    let mut rows = Rows::default();
    match target {
        Target::All => {
            rows.snapshots = tx.snapshots_in_state(SnapshotState::Completed).await?;
            rows.images = tx.images().await?;
            rows.volumes = tx.volumes().await?;
        }
        Target::Image(id) => {
            let image = tx.image_get(id).await?.ok_or_else(|| Failure::image_not_found(id))?;
            for id in image.snapshot_ids() {
                rows.snapshots.extend(tx.snapshot_get(id).await?);
            }
            rows.images.push(image);
        }
        Target::Snapshot(id) => {
            rows.images = tx.images_using_snapshot(id).await?;
            let snapshot = tx.snapshot_get(id).await?;
            rows.snapshots.push(snapshot.ok_or_else(|| Failure::snapshot_not_found(id))?);
        }
        Target::Volume(id) => {
            let volume = tx.volume_get(id).await?;
            rows.volumes.push(volume.ok_or_else(|| Failure::volume_not_found(id))?);
        }
    }
    Ok(rows)
}

impl Rows {
    fn roots(&self) -> impl Iterator<Item = &str> {
        let snapshots = self.snapshots.iter().filter_map(|snapshot| snapshot.root.as_deref());
        snapshots.chain(self.volumes.iter().flat_map(roots_of_volume))
    }

    fn name_users(&self, by_domain: &mut BTreeMap<String, BTreeMap<String, Users>>) -> Result<(), Failure> {
        let mut images: HashMap<&SnapshotId, Vec<&Image>> = HashMap::new();
        for image in &self.images {
            for id in image.snapshot_ids() {
                images.entry(id).or_default().push(image);
            }
        }
        let mut each = |root: &str, name: &mut dyn FnMut(&mut Users)| -> Result<(), Failure> {
            let domain = parse(root)?.domain().to_owned();
            by_domain.entry(domain).or_default().get_mut(root).into_iter().for_each(name);
            Ok(())
        };
        for snapshot in &self.snapshots {
            let Some(root) = &snapshot.root else { continue };
            each(root, &mut |users| {
                let Snapshot { snapshot_id, owner_id, .. } = snapshot.clone();
                users.snapshots.push(SnapshotUse { snapshot_id, owner_id });
                for image in images.get(&snapshot.snapshot_id).into_iter().flatten() {
                    let used = ImageUse {
                        image_id: image.image_id.clone(),
                        name: image.name.clone(),
                        owner_id: image.owner_id.clone(),
                    };
                    if !users.images.contains(&used) {
                        users.images.push(used);
                    }
                }
            })?;
        }
        for volume in &self.volumes {
            for root in roots_of_volume(volume) {
                each(root, &mut |users| {
                    let Volume { volume_id, owner_id, .. } = volume.clone();
                    users.volumes.push(VolumeUse { volume_id, owner_id });
                })?;
            }
        }
        Ok(())
    }
}

/// What lies below it, and what its next snapshot builds upon.
fn roots_of_volume(volume: &Volume) -> impl Iterator<Item = &str> {
    let checkpoint = volume.checkpoint.as_ref().map(|checkpoint| checkpoint.root.as_str());
    let base = volume.base_root.as_deref();
    base.into_iter().chain(checkpoint.filter(|root| Some(*root) != base))
}
