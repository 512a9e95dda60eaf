//! What a call came back with, and reading it as a client would: by element name.

use http::StatusCode;

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the service answers in UTF-8")
    }

    /// The reply of a call that must succeed.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "many tests want no more than that it succeeds")]
    pub fn ok(self) -> Self {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        self
    }

    /// The code of a call that must fail.
    #[track_caller]
    pub fn error_code(&self) -> String {
        assert!(!self.status.is_success(), "expected an error, got {}", self.text());
        self.value("Code")
    }

    #[track_caller]
    pub fn error_message(&self) -> String {
        assert!(!self.status.is_success(), "expected an error, got {}", self.text());
        self.value("Message")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body of a REST-JSON reply.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Type and reason of a REST-JSON call that must fail, such as
    /// `ValidationException INVALID_BLOCK_TOKEN`.
    #[track_caller]
    pub fn rest_error(&self) -> String {
        assert!(!self.status.is_success(), "expected an error, got {}", self.status);
        let kind = self.header("x-amzn-ErrorType").unwrap_or_default();
        let body = self.json();
        let reason = body.get("Reason").and_then(serde_json::Value::as_str).unwrap_or_default();
        format!("{kind} {reason}").trim_end().to_owned()
    }

    /// The text of the first element of that name.
    #[track_caller]
    pub fn value(&self, element: &str) -> String {
        let mut all = self.values(element).into_iter();
        all.next().unwrap_or_else(|| panic!("no <{element}> in {}", self.text()))
    }

    pub fn has(&self, element: &str) -> bool {
        !self.values(element).is_empty()
    }

    /// The texts of all elements of that name that hold only text, in document order.
    pub fn values(&self, element: &str) -> Vec<String> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let pieces = self.text().split(&open).skip(1);
        let inner = pieces.filter_map(|piece| piece.split_once(&close).map(|(inner, _)| inner));
        inner.filter(|inner| !inner.contains('<')).map(unescape).collect()
    }

    /// The raw insides of all elements of that name, for looking at one item of a list.
    pub fn insides(&self, element: &str) -> Vec<String> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let pieces = self.text().split(&open).skip(1);
        pieces.filter_map(|piece| piece.split_once(&close).map(|(inner, _)| inner.to_owned())).collect()
    }
}

fn unescape(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#13;", "\r");
    plain.replace("&amp;", "&")
}
