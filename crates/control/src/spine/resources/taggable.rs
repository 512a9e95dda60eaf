//! Resources by nothing but their id, for the operations that tag any kind of them.

use std::str::FromStr;

use model::{Fault, Instance, ResourceType, SecurityGroupRuleId, Tag};

use super::super::cx::Cx;
use super::super::granted::Granted;
use super::super::write::Write;
use crate::failure::Failure;
use crate::jobs::keep_record::KeepRecord;

/// Something of the caller's that carries tags.
#[derive(Debug, Clone)]
pub(crate) struct Taggable {
    pub(crate) resource_type: ResourceType,
    pub(crate) id: String,
    /// Set for an instance that shows its tags to the guest: its machine has to hear of new ones.
    pub(crate) shown_by: Option<Instance>,
}

impl Taggable {
    fn new(resource_type: ResourceType, id: &str) -> Self {
        Self { resource_type, id: id.to_owned(), shown_by: None }
    }
}

fn typed<T: FromStr<Err = Fault>>(id: &str) -> Result<T, Failure> {
    Ok(id.parse()?)
}

impl Cx<'_> {
    /// The caller's own resource of that id; the NotFound of its kind otherwise.
    pub(crate) async fn taggable(&mut self, id: &str) -> Result<Granted<Taggable>, Failure> {
        let resource_type = ResourceType::of_id(id).ok_or_else(|| Failure::not_taggable(id))?;
        let mut taggable = Taggable::new(resource_type, id);
        match resource_type {
            ResourceType::Image => self.image_to_tag(id).await?,
            ResourceType::Instance => {
                let instance = self.instance(&typed(id)?).await?.into_inner();
                let shows = instance.metadata_options.instance_metadata_tags_enabled;
                taggable.shown_by = Some(instance).filter(|_| shows);
            }
            ResourceType::KeyPair => drop(self.key_pair_by_id(&typed(id)?).await?),
            ResourceType::NetworkInterface => {
                return Err(Failure::unsupported("Tagging of network interfaces"));
            }
            ResourceType::SecurityGroup => drop(self.security_group(&typed(id)?).await?),
            ResourceType::SecurityGroupRule => self.rule_to_tag(&typed(id)?).await?,
            ResourceType::Snapshot => drop(self.snapshot(&typed(id)?).await?),
            ResourceType::Subnet => drop(self.subnet(&typed(id)?).await?),
            ResourceType::Volume => drop(self.volume(&typed(id)?).await?),
            ResourceType::Vpc => drop(self.vpc(&typed(id)?).await?),
        }
        Ok(Granted::new(taggable))
    }

    /// All of them, or the first one's error.
    pub(crate) async fn taggables(&mut self, ids: &[String]) -> Result<Vec<Granted<Taggable>>, Failure> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(self.taggable(id).await?);
        }
        Ok(found)
    }

    /// Another account's image keeps to its owner's tags: to everybody else it cannot be tagged, as if missing.
    async fn image_to_tag(&mut self, id: &str) -> Result<(), Failure> {
        let id = typed(id)?;
        let image = self.image(&id).await?;
        if image.owner_id == self.caller.account { Ok(()) } else { Err(Failure::image_not_found(&id)) }
    }

    async fn rule_to_tag(&mut self, id: &SecurityGroupRuleId) -> Result<(), Failure> {
        let groups = self.security_groups().await?;
        let mut rules = groups.iter().flat_map(|group| group.ingress.iter().chain(&group.egress));
        let found = rules.any(|rule| rule.rule_id == *id);
        if found { Ok(()) } else { Err(Failure::security_group_rule_not_found(id)) }
    }
}

impl Write<'_, '_> {
    /// Sets tags; a key that the resource had takes the new value.
    pub(crate) async fn tags_set(&mut self, on: &Granted<Taggable>, tags: &[Tag]) -> Result<(), Failure> {
        self.tags_put(on.resource_type, &on.id, tags).await?;
        self.keep_tagged_record(on).await
    }

    async fn keep_tagged_record(&mut self, on: &Taggable) -> Result<(), Failure> {
        let (owner, region) = (self.cx.caller.account.clone(), self.cx.caller.region);
        let job = match on.resource_type {
            ResourceType::Image => KeepRecord::of_image(&typed(&on.id)?, &owner, region),
            ResourceType::Snapshot => KeepRecord::of_snapshot(&typed(&on.id)?, &owner, region),
            ResourceType::Instance
            | ResourceType::KeyPair
            | ResourceType::NetworkInterface
            | ResourceType::SecurityGroup
            | ResourceType::SecurityGroupRule
            | ResourceType::Subnet
            | ResourceType::Volume
            | ResourceType::Vpc => return Ok(()),
        };
        self.enqueue(&job).await
    }

    /// Removes a tag, if it has the value where one is given.
    pub(crate) async fn tag_unset(
        &mut self,
        from: &Granted<Taggable>,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), Failure> {
        self.cx.tx.tag_delete(&from.id, key, value).await?;
        self.keep_tagged_record(from).await
    }
}
