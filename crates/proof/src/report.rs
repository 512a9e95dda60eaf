//! What was done to the product, and what came of it, in words and as JSON.

use std::fmt;

use serde_json::{Value, json};

/// How often what happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub operations: u64,
    pub flushes: u64,
    pub freezes: u64,
    pub uploads: u64,
    pub restores: u64,
    pub copies: u64,
    pub deletions: u64,
    pub reads: u64,
    /// Rounds of the collector that came to their end.
    pub rounds: u64,
    /// Objects that it deleted.
    pub collected: u64,
    /// Batches of repacking that moved something.
    pub repacked: u64,
    /// Blocks that they moved.
    pub moved: u64,
    /// Places where the process could have died.
    pub passages: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub faults: u64,
    pub damages: u64,
    /// Of these: refused with an error by whoever read the bytes.
    pub refused: u64,
    /// Of these: to bytes that no snapshot needs.
    pub harmless: u64,
}

impl Counts {
    pub fn rows(&self) -> [(&'static str, u64); 19] {
        [
            ("operations", self.operations),
            ("flushes", self.flushes),
            ("freezes", self.freezes),
            ("uploads", self.uploads),
            ("restores", self.restores),
            ("copies", self.copies),
            ("deletions", self.deletions),
            ("reads compared", self.reads),
            ("collections", self.rounds),
            ("objects collected", self.collected),
            ("repackings", self.repacked),
            ("blocks moved", self.moved),
            ("crash points passed", self.passages),
            ("kills", self.kills),
            ("power cuts", self.power_cuts),
            ("faults injected", self.faults),
            ("damages done", self.damages),
            ("damages refused", self.refused),
            ("damages to what nothing needs", self.harmless),
        ]
    }

    pub fn add(&mut self, other: &Self) {
        let Self {
            operations,
            flushes,
            freezes,
            uploads,
            restores,
            copies,
            deletions,
            reads,
            rounds,
            collected,
            repacked,
            moved,
            passages,
            kills,
            power_cuts,
            faults,
            damages,
            refused,
            harmless,
        } = self;
        let own = [
            operations, flushes, freezes, uploads, restores, copies, deletions, reads, rounds, collected,
            repacked, moved, passages, kills, power_cuts, faults, damages, refused, harmless,
        ];
        for (own, (_, other)) in own.into_iter().zip(other.rows()) {
            *own += other;
        }
    }
}

/// A promise that was broken, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub seed: u64,
    /// The fewest operations with which it still happens.
    pub operations: usize,
    pub what: String,
    /// The last lines of the trace.
    pub tail: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.tail {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "broken: {}", self.what)?;
        write!(f, "again:  cargo xtask prove --seed {} --operations {} --seeds 1", self.seed, self.operations)
    }
}

/// All that a run of many seeds found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub first_seed: u64,
    pub seeds: u64,
    /// Seeds that were played twice, to the same trace.
    pub replayed: u64,
    pub counts: Counts,
    pub failure: Option<Failure>,
}

impl Report {
    /// A run ends at the first broken promise, so that each of these is none or one.
    fn broken(&self) -> [(&'static str, u64); 3] {
        let is = |kind: &str| u64::from(self.failure.as_ref().is_some_and(|f| Self::kind(&f.what) == kind));
        [
            ("writes or snapshots lost", is("lost")),
            ("wrong reads", is("wrong")),
            ("damages not noticed", is("unnoticed")),
        ]
    }

    fn kind(what: &str) -> &'static str {
        if what.starts_with("damage") {
            "unnoticed"
        } else if what.contains("read") && what.contains("not the") {
            "wrong"
        } else {
            "lost"
        }
    }

    pub fn json(&self) -> Value {
        let rows = |rows: &[(&str, u64)]| -> Value {
            rows.iter().map(|(name, value)| (name.replace(' ', "_"), json!(value))).collect()
        };
        json!({
            "first_seed": self.first_seed,
            "seeds": self.seeds,
            "seeds_replayed": self.replayed,
            "done": rows(&self.counts.rows()),
            "broken": rows(&self.broken()),
            "failure": self.failure.as_ref().map(|failure| json!({
                "seed": failure.seed,
                "operations": failure.operations,
                "what": failure.what,
                "tail": failure.tail,
            })),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  seeds, from {} on", self.seeds, self.first_seed)?;
        writeln!(f, "{:>12}  of them played twice, to the same trace", self.replayed)?;
        for (name, value) in self.counts.rows().iter().chain(&self.broken()) {
            writeln!(f, "{value:>12}  {name}")?;
        }
        if let Some(failure) = &self.failure {
            write!(f, "{failure}")?;
        }
        Ok(())
    }
}
