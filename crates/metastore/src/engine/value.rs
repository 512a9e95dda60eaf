//! Values as they go into and come out of statements.

use model::{Region, Timestamp};

use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Blob(value.to_vec())
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Int(value.as_millis())
    }
}

impl From<Region> for Value {
    fn from(value: Region) -> Self {
        value.as_str().into()
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The answer to a query.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Rows {
    pub(crate) fn first(&self) -> Option<&Row> {
        self.rows.first()
    }

    /// Decodes every row.
    pub(crate) fn map<T>(&self, decode: impl FnMut(&Row) -> Result<T>) -> Result<Vec<T>> {
        self.rows.iter().map(decode).collect()
    }

    /// Decodes the only row, if there is one.
    pub(crate) fn optional<T>(&self, decode: impl FnOnce(&Row) -> Result<T>) -> Result<Option<T>> {
        self.first().map(decode).transpose()
    }

    /// The number that a counting statement answers with.
    pub(crate) fn count(&self) -> Result<u64> {
        let row = self.first().ok_or_else(|| Error::corrupt("read a count: no row"))?;
        u64::try_from(row.int(0)?).map_err(|e| Error::corrupt(format!("read a count: {e}")))
    }
}

/// One row; columns are read by position. A value of another type than asked for is corruption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) Vec<Value>);

impl Row {
    pub(crate) fn values(&self) -> &[Value] {
        &self.0
    }

    pub(crate) fn text(&self, column: usize) -> Result<&str> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text),
            other => Err(mismatch(column, "text", other)),
        }
    }

    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<&str>> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64> {
        match self.0.get(column) {
            Some(Value::Int(number)) => Ok(*number),
            other => Err(mismatch(column, "number", other)),
        }
    }

    pub(crate) fn blob(&self, column: usize) -> Result<&[u8]> {
        match self.0.get(column) {
            Some(Value::Blob(bytes)) => Ok(bytes),
            other => Err(mismatch(column, "bytes", other)),
        }
    }

    pub(crate) fn bytes32(&self, column: usize) -> Result<[u8; 32]> {
        let bytes = self.blob(column)?;
        bytes
            .try_into()
            .map_err(|_| Error::corrupt(format!("read column {column}: {} bytes instead of 32", bytes.len())))
    }

    pub(crate) fn number<T: TryFrom<i64>>(&self, column: usize) -> Result<T> {
        let number = self.int(column)?;
        T::try_from(number)
            .map_err(|_| Error::corrupt(format!("read column {column}: {number} is out of range")))
    }

    pub(crate) fn time(&self, column: usize) -> Result<Timestamp> {
        self.int(column).map(Timestamp::from_millis)
    }

    pub(crate) fn opt_time(&self, column: usize) -> Result<Option<Timestamp>> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.time(column).map(Some),
        }
    }

    /// Text that a type of the model parses: ids, regions, enumerations.
    pub(crate) fn parsed<T>(&self, column: usize) -> Result<T>
    where
        T: std::str::FromStr,
        T::Err: Into<crate::error::Source>,
    {
        self.text(column)?.parse().map_err(|e: T::Err| {
            Error::caused(crate::ErrorKind::Corrupt, format!("read column {column}: unexpected text"), e)
        })
    }
}

fn mismatch(column: usize, wanted: &str, found: Option<&Value>) -> Error {
    let found = match found {
        None => "no such column",
        Some(Value::Null) => "null",
        Some(Value::Int(_)) => "a number",
        Some(Value::Text(_)) => "text",
        Some(Value::Blob(_)) => "bytes",
    };
    Error::corrupt(format!("read column {column}: {found} instead of {wanted}"))
}
