//! Filter values: `*` is any text, `?` one character, `\` takes the next of these literally.

use model::Fault;

/// EC2 takes values of up to 255 characters; tag values have up to 256.
const CHARS_MAX: usize = 256;

/// A filter value. Case-sensitive.
///
/// Matching takes time linear in the text, whatever the pattern: all ways of matching advance
/// together, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Exact(String),
    Wild(Box<Wild>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    One,
    Any,
}

impl Pattern {
    pub fn parse(value: &str) -> Result<Self, Fault> {
        if value.chars().count() > CHARS_MAX {
            return Err(Fault::value(format!(
                "The maximum length of a filter value is {CHARS_MAX} characters"
            )));
        }
        let tokens = tokens(value);
        let exact: Option<String> = tokens
            .iter()
            .map(|token| match token {
                Token::Literal(c) => Some(*c),
                Token::One | Token::Any => None,
            })
            .collect();
        Ok(Self(exact.map_or_else(|| Kind::Wild(Box::new(Wild::new(&tokens))), Kind::Exact)))
    }

    /// The one text that matches, if there is no wildcard.
    pub fn exact(&self) -> Option<&str> {
        match &self.0 {
            Kind::Exact(exact) => Some(exact),
            Kind::Wild(_) => None,
        }
    }

    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Kind::Exact(exact) => exact == text,
            Kind::Wild(wild) => wild.matches(text),
        }
    }
}

fn tokens(value: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Literal(chars.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or(c)),
            _ => Token::Literal(c),
        });
    }
    // Two stars in a row say what one says; with one, a single step always passes it.
    tokens.dedup_by(|a, b| *a == Token::Any && *b == Token::Any);
    tokens
}

/// A set of positions in a pattern: bit `i` says that the tokens before `i` have matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Positions([u64; WORDS]);

/// One position more than there are tokens.
const WORDS: usize = CHARS_MAX / 64 + 1;

impl Positions {
    fn insert(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn contains(self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    fn zip(mut self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word = with(*word, other);
        }
        self
    }

    /// Every position one further.
    fn next(mut self) -> Self {
        let mut carry = 0;
        for word in &mut self.0 {
            (*word, carry) = (*word << 1 | carry, *word >> 63);
        }
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wild {
    /// For each character of the pattern, where it stands. Sorted.
    literals: Vec<(char, Positions)>,
    one: Positions,
    any: Positions,
    end: usize,
}

impl Wild {
    fn new(tokens: &[Token]) -> Self {
        let mut wild = Self {
            literals: Vec::new(),
            one: Positions::default(),
            any: Positions::default(),
            end: tokens.len(),
        };
        let mut literals = std::collections::BTreeMap::<char, Positions>::new();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Literal(c) => literals.entry(*c).or_default().insert(at),
                Token::One => wild.one.insert(at),
                Token::Any => wild.any.insert(at),
            }
        }
        wild.literals = literals.into_iter().collect();
        wild
    }

    fn matches(&self, text: &str) -> bool {
        let mut here = Positions::default();
        here.insert(0);
        here = self.past_stars(here);
        for c in text.chars() {
            let literal = self.literals.binary_search_by_key(&c, |(known, _)| *known).ok();
            let literal = literal.and_then(|at| self.literals.get(at)).map(|(_, at)| *at).unwrap_or_default();
            let stepped = here.and(self.one.or(literal)).next();
            here = self.past_stars(stepped.or(here.and(self.any)));
        }
        here.contains(self.end)
    }

    /// A star also matches nothing.
    fn past_stars(&self, here: Positions) -> Positions {
        here.or(here.and(self.any).next())
    }
}
