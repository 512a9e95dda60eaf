//! New RSA keys: 2048 bits, two primes, exponent 65537.

use std::convert::Infallible;

use crypto_bigint::{BoxedUint, ConcatenatingMul, Gcd, NonZero};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use model::IdGen;
use model::id_gen::random_bytes;
use rand_core::{TryCryptoRng, TryRng};

use super::der;
use super::openssh::PublicKey;

const PRIME_BITS: u32 = 1024;
const MODULUS_BITS: u32 = 2 * PRIME_BITS;
const EXPONENT: [u8; 3] = [1, 0, 1];
/// Primes nearer to each other than 2^(1024 - 100) would let the modulus be factored (FIPS 186-5).
const DISTANCE_BITS_MIN: u32 = PRIME_BITS - 100;

/// A key's numbers, big-endian.
pub(super) struct RsaKey {
    modulus: Vec<u8>,
    private_exponent: Vec<u8>,
    /// The larger prime first, so that the coefficient is its inverse's.
    primes: [Vec<u8>; 2],
    exponents: [Vec<u8>; 2],
    coefficient: Vec<u8>,
}

pub(super) fn generate(ids: &dyn IdGen) -> RsaKey {
    loop {
        let (a, b) = (prime(ids), prime(ids));
        let (p, q) = if a > b { (a, b) } else { (b, a) };
        if let Some(key) = assemble(&p, &q) {
            return key;
        }
    }
}

fn prime(ids: &dyn IdGen) -> BoxedUint {
    let sieve = SmallFactorsSieveFactory::new(Flavor::Any, PRIME_BITS, SetBits::TwoMsb)
        .expect("the sieve knows primes of this size");
    sieve_and_find(&mut Rng(ids), sieve, |_, candidate: &BoxedUint| is_prime(Flavor::Any, candidate))
        .expect("the generator of random bytes never fails")
        .expect("the search ends only with a prime")
}

/// None where the primes do not make a good key, which is rare.
fn assemble(p: &BoxedUint, q: &BoxedUint) -> Option<RsaKey> {
    if p.wrapping_sub(q).bits() <= DISTANCE_BITS_MIN {
        return None;
    }
    let one = BoxedUint::one_with_precision(PRIME_BITS);
    let (p1, q1) = (p.wrapping_sub(&one), q.wrapping_sub(&one));
    // The least common multiple of p-1 and q-1 is the smallest modulus that works.
    let gcd = NonZero::new(p1.gcd(&q1)).into_option()?;
    let order = p1.wrapping_div(&gcd).concatenating_mul(&q1);
    let exponent = BoxedUint::from_be_slice(&EXPONENT, order.bits_precision()).ok()?;
    let d = exponent.invert_mod(&NonZero::new(order).into_option()?).into_option()?;
    let reduced = |modulus: BoxedUint| {
        NonZero::new(modulus).into_option().map(|modulus| d.rem(&modulus).to_be_bytes().to_vec())
    };
    Some(RsaKey {
        modulus: p.concatenating_mul(q).to_be_bytes().to_vec(),
        private_exponent: d.to_be_bytes().to_vec(),
        exponents: [reduced(p1)?, reduced(q1)?],
        coefficient: q
            .invert_mod(&NonZero::new(p.clone()).into_option()?)
            .into_option()?
            .to_be_bytes()
            .to_vec(),
        primes: [p.to_be_bytes().to_vec(), q.to_be_bytes().to_vec()],
    })
}

impl RsaKey {
    pub(super) fn public_key(&self) -> PublicKey {
        debug_assert_eq!(
            self.modulus.len() * 8,
            MODULUS_BITS as usize,
            "both primes have their two top bits"
        );
        PublicKey::Rsa { modulus: self.modulus.clone(), exponent: EXPONENT.to_vec() }
    }

    pub(super) fn pkcs1(&self) -> Vec<u8> {
        let [p, q] = &self.primes;
        let [dp, dq] = &self.exponents;
        let numbers: [&[u8]; 9] =
            [&[0], &self.modulus, &EXPONENT, &self.private_exponent, p, q, dp, dq, &self.coefficient];
        der::sequence(&numbers.map(der::integer))
    }

    pub(super) fn pkcs8(&self) -> Vec<u8> {
        der::rsa_private_key_info(&self.pkcs1())
    }
}

/// The service's source of randomness, as the search for primes wants it.
struct Rng<'a>(&'a dyn IdGen);

impl TryRng for Rng<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(random_bytes(self.0)))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(random_bytes(self.0)))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Rng<'_> {}
