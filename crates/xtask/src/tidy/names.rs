//! One word for one thing: EC2's.

use super::{Breach, Rule};
use crate::codegen::snake_case;
use crate::repo::{Repo, has_extension};

pub(super) const RULES: &[Rule] = &[("synonyms", synonyms)];

/// Words that stand for an EC2 noun, as whole words of a snake_case name, and what to say instead.
const SYNONYMS: &[(&str, &str)] = &[
    ("ami", "image"),
    ("amis", "images"),
    ("vm", "instance (or machine: its process)"),
    ("keypair", "key_pair"),
    ("blockdevice", "block_device"),
    ("bdm", "block_device_mapping"),
    ("secgroup", "security_group"),
    ("az", "availability_zone"),
    ("snap", "snapshot"),
    ("vol", "volume"),
];

/// EC2's own names that contain such a word.
const EC2_NAMES: &[&str] = &[
    "default_for_az",
    "ami_launch_index",
    "ami_manifest_path",
    "ancestor_ami_ids",
    "source_image_ami",
    "invalid_ami",
];

fn synonyms(repo: &Repo) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in repo.product() {
        for name in &source.names {
            if let Some(better) = better_name(&name.text) {
                breaches.push(Breach::at(source, name, &format!("say {better}")));
            }
        }
    }
    for (path, text) in repo.texts().filter(|(path, _)| has_extension(path, "sql")) {
        for (index, line) in text.lines().enumerate() {
            let found =
                unquoted(line).split(|c: char| !c.is_alphanumeric() && c != '_').find_map(better_name);
            breaches.extend(found.map(|better| Breach::on(path, index + 1, format!("say {better}"))));
        }
    }
    breaches
}

/// The line without its string literals: ids in them have EC2's prefixes.
fn unquoted(line: &str) -> String {
    line.split('\'').step_by(2).collect::<Vec<_>>().join(" ")
}

fn better_name(name: &str) -> Option<&'static str> {
    let snake = snake_case(name);
    if EC2_NAMES.iter().any(|known| snake.contains(known)) {
        return None;
    }
    let (_, better) = SYNONYMS.iter().find(|(word, _)| snake.split('_').any(|part| part == *word))?;
    Some(better)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    #[test]
    fn synonyms_are_found_in_types_fields_functions_and_columns() {
        for (path, text) in [
            ("crates/model/src/image.rs", "struct AmiId;"),
            ("crates/model/src/image.rs", "struct Image { ami_id: u8 }"),
            ("crates/model/src/image.rs", "fn register_ami() {}"),
            ("crates/model/src/image.rs", "enum Thing { Keypair }"),
            ("crates/metastore/src/migrations/0001.sql", "CREATE TABLE images (\n  ami_id TEXT\n)"),
            (
                "crates/metastore/src/migrations/0001.sql",
                "INSERT INTO images (ami) VALUES ('ami-1', 'snap-1')",
            ),
        ] {
            assert_eq!(synonyms(&planted(&[(path, text)])).len(), 1, "{text}");
        }
    }

    #[test]
    fn the_names_of_ec2_stand() {
        let text = "struct Dynamic { ami_launch_index: u8, volume: u8 } enum Code { InvalidAmiIdNotFound }";
        assert_eq!(synonyms(&planted(&[("crates/model/src/a.rs", text)])), []);
    }
}
