//! Tags: written with the resource or later, read with it.

use std::collections::BTreeMap;

use metastore::TagRow;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::{ResourceType, Tag};
use wire::shapes::TagSpecification;

use super::super::cx::Cx;
use super::super::granted::Creation;
use super::super::write::Write;
use crate::failure::Failure;

/// Tags of several resources, by id.
pub(crate) type TagMap = BTreeMap<String, Vec<Tag>>;

pub(crate) fn check_new_tags(tags: &[Tag]) -> Result<(), Failure> {
    if tags.len() > TAGS_PER_RESOURCE_MAX {
        return Err(Failure::tag_limit(TAGS_PER_RESOURCE_MAX));
    }
    for (at, tag) in tags.iter().enumerate() {
        model::tag::check_user_tag(tag)?;
        if tags.iter().skip(at + 1).any(|other| other.key == tag.key) {
            return Err(Failure::tag_twice(&tag.key));
        }
    }
    Ok(())
}

impl Cx<'_> {
    pub(crate) async fn tags_of(&mut self, id: &str) -> Result<Vec<Tag>, Failure> {
        Ok(self.tx.tags_of(id).await?)
    }

    pub(crate) async fn tags_of_many<'i>(
        &mut self,
        ids: impl IntoIterator<Item = &'i str>,
    ) -> Result<TagMap, Failure> {
        let ids: Vec<&str> = ids.into_iter().collect();
        Ok(self.tx.tags_of_many(&ids).await?)
    }

    /// Every tag of the account in the region.
    pub(crate) async fn all_tags(&mut self) -> Result<Vec<TagRow>, Failure> {
        Ok(self.tx.tags_in(&self.caller.account, self.caller.region).await?)
    }
}

impl Write<'_, '_> {
    pub(in crate::spine) async fn created_tags_put(
        &mut self,
        creation: &Creation,
        id: &str,
    ) -> Result<(), Failure> {
        for tag in &creation.tags {
            let region = self.cx.caller.region;
            self.cx.tx.tag_put(&creation.owner_id, region, creation.resource_type, id, tag).await?;
        }
        Ok(())
    }

    /// The caller has shown with a look-up that the resource is the account's own.
    pub(crate) async fn tags_put(
        &mut self,
        resource_type: ResourceType,
        id: &str,
        tags: &[Tag],
    ) -> Result<(), Failure> {
        let (account, region) = (self.cx.caller.account.clone(), self.cx.caller.region);
        for tag in tags {
            self.cx.tx.tag_put(&account, region, resource_type, id, tag).await?;
        }
        Ok(())
    }
}

/// A resource with its tags, as filters and answers need it.
#[derive(Debug)]
pub(crate) struct Tagged<T> {
    pub(crate) item: T,
    pub(crate) tags: Vec<Tag>,
}

/// For the tag filters of a describe operation.
pub(crate) fn tag_pairs(tags: &[Tag]) -> Vec<(&str, &str)> {
    tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str())).collect()
}

impl Cx<'_> {
    /// Each item with its tags, read at once.
    pub(crate) async fn tagged<T>(
        &mut self,
        items: Vec<T>,
        id: impl for<'i> Fn(&'i T) -> &'i str,
    ) -> Result<Vec<Tagged<T>>, Failure> {
        let mut tags = self.tags_of_many(items.iter().map(&id)).await?;
        let with_tags = |item: T| Tagged { tags: tags.remove(id(&item)).unwrap_or_default(), item };
        Ok(items.into_iter().map(with_tags).collect())
    }
}

/// The tags that a request specifies for its one kind of resource; another kind is refused.
pub(crate) fn tags_for(
    specifications: &[TagSpecification],
    resource_type: ResourceType,
) -> Result<Vec<Tag>, Failure> {
    Ok(tags_for_each(specifications, &[resource_type])?.remove(&resource_type).unwrap_or_default())
}

/// The same for requests that make several kinds of resources at once.
pub(crate) fn tags_for_each(
    specifications: &[TagSpecification],
    allowed: &[ResourceType],
) -> Result<BTreeMap<ResourceType, Vec<Tag>>, Failure> {
    let mut tags: BTreeMap<ResourceType, Vec<Tag>> = BTreeMap::new();
    for specification in specifications {
        if !allowed.contains(&specification.resource_type) {
            return Err(Failure::tag_resource_type(specification.resource_type));
        }
        let of_type = tags.entry(specification.resource_type).or_default();
        of_type.extend(specification.tags.iter().cloned().map(Tag::from));
    }
    Ok(tags)
}
