//! The process environment, read once and passed down.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Environment variables. An empty value counts as unset, as the AWS command line has it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process; those that are not text are left out.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// The data directory of a server that was told none: `$XDG_DATA_HOME/katagami`.
    pub fn data_dir(&self) -> Option<PathBuf> {
        let xdg = self.get("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Some(xdg.or_else(|| Some(self.home()?.join(".local/share")))?.join("katagami"))
    }

    /// The path with a leading `~` made into the home directory.
    pub fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), self.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_data_directory_follows_xdg() {
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let table: [Row<'_>; 4] = [
            (&[("HOME", "/h")], Some("/h/.local/share/katagami")),
            (&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")], Some("/x/katagami")),
            (&[("HOME", "/h"), ("XDG_DATA_HOME", "relative")], Some("/h/.local/share/katagami")),
            (&[("HOME", "")], None),
        ];
        for (variables, expected) in table {
            assert_eq!(environment(variables).data_dir(), expected.map(PathBuf::from), "{variables:?}");
        }
    }
}
