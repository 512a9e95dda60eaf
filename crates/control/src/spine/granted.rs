//! Proofs: a value of these types shows that a check has been made.

use std::ops::Deref;

/// A resource that the caller may act on. Only the look-ups of `Cx` make one, and every write takes one.
#[derive(Debug, Clone)]
pub(crate) struct Granted<T>(T);

impl<T> Granted<T> {
    /// For the look-ups in `spine::resources` alone.
    pub(in crate::spine) const fn new(resource: T) -> Self {
        Self(resource)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Granted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Shows that the caller may create a resource of the kind, with these tags.
#[derive(Debug)]
pub(crate) struct Creation {
    pub(in crate::spine) owner_id: model::AccountId,
    pub(in crate::spine) resource_type: model::ResourceType,
    pub(in crate::spine) tags: Vec<model::Tag>,
}

impl<T> Granted<T> {
    /// The same resource, changed, ready for a write.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut T)) -> Self {
        change(&mut self.0);
        self
    }
}
