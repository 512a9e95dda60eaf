//! `settings`: single values of the installation, such as keys that it made for itself.

use crate::Tx;
use crate::error::Result;

impl Tx {
    pub async fn setting_get(&mut self, name: &str) -> Result<Option<String>> {
        let rows = self.query("SELECT setting FROM settings WHERE name = $1", &[name.into()]).await?;
        rows.optional(|row| row.text(0).map(str::to_owned))
    }

    pub async fn setting_set(&mut self, name: &str, setting: &str) -> Result<()> {
        let sql = "INSERT INTO settings (name, setting) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET setting = excluded.setting";
        self.execute(sql, &[name.into(), setting.into()]).await?;
        Ok(())
    }
}
