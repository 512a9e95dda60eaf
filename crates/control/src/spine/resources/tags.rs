//! Tags: written with the resource or later, read with it.

use std::collections::BTreeMap;

use model::limits::TAGS_PER_RESOURCE_MAX;
use model::{ResourceType, Tag};

use super::super::cx::Cx;
use super::super::granted::Creation;
use super::super::write::Write;
use crate::failure::Failure;

/// Tags of several resources, by id.
pub(crate) type TagMap = BTreeMap<String, Vec<Tag>>;

/// The tags of one resource out of a map; none is an empty list.
pub(crate) fn tags_in<'m>(map: &'m TagMap, id: &str) -> &'m [Tag] {
    map.get(id).map_or(&[], Vec::as_slice)
}

pub(in crate::spine) fn check_new_tags(tags: &[Tag]) -> Result<(), Failure> {
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
}

impl Write<'_, '_> {
    pub(in crate::spine) async fn created_tags_put(
        &mut self,
        creation: &Creation,
        id: &str,
    ) -> Result<(), Failure> {
        self.tags_put(creation.resource_type, id, &creation.tags).await
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
