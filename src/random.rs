//! The only source of randomness: the operating system's. Everything else takes random bytes as an
//! argument.

/// `N` bytes from the operating system.
///
/// # Panics
/// When the operating system has no randomness to give: nothing that signs may go on then.
#[must_use]
#[expect(clippy::expect_used, reason = "no key may be made without randomness")]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0u8; N];
    getrandom::fill(&mut out).expect("the operating system has no randomness to give");
    out
}
