//! `accounts`: the owners of everything else.

use model::{Account, AccountId};

use crate::Tx;
use crate::engine::Value;
use crate::error::Result;
use crate::noun::Noun;

impl Noun for Account {
    const TABLE: &'static str = "accounts";
    const KEY: &'static str = "account_id";
    const COLUMNS: &'static [&'static str] = &["name"];

    fn key(&self) -> &str {
        self.account_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        vec![self.name.as_str().into()]
    }
}

impl Tx {
    /// `Conflict` when the id or the name is taken.
    pub async fn account_insert(&mut self, account: &Account) -> Result<()> {
        self.noun_insert(account).await
    }

    pub async fn account_get(&mut self, id: &AccountId) -> Result<Option<Account>> {
        self.noun_get(id.as_str()).await
    }

    pub async fn account_by_name(&mut self, name: &str) -> Result<Option<Account>> {
        self.noun_where("name = $1", &[name.into()]).await
    }

    /// All accounts by id.
    pub async fn accounts(&mut self) -> Result<Vec<Account>> {
        self.nouns_where("1 = 1 ORDER BY account_id", &[]).await
    }
}
