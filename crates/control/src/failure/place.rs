//! Texts about zones and instance types.

use model::Code;

use super::Failure;

impl Failure {
    pub(crate) fn zone_invalid(name_or_id: &str) -> Self {
        let shown: String = name_or_id.chars().take(100).collect();
        Self::value(format!("Invalid availability zone: [{shown}]"))
    }

    pub(crate) fn instance_types_unknown(names: &[&str]) -> Self {
        let shown: Vec<String> = names.iter().map(|name| name.chars().take(100).collect()).collect();
        Self::new(
            Code::InvalidInstanceType,
            format!("The following supplied instance types do not exist: [{}]", shown.join(", ")),
        )
    }
}
