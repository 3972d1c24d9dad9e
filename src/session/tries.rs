//! How often a secret may be guessed.

use crate::units::UnixMs;

/// The first lock-out; each further one is twice as long, up to an hour.
const LOCK_MS: u64 = 30_000;
const LOCK_MOST_MS: u64 = 3_600_000;

/// Counts tries since the last right one; a new one forgets all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tries {
    wrong: u32,
    locked_until: UnixMs,
    lock_ms: u64,
}

impl Tries {
    /// Wrong ones in a row before nobody may try for a while.
    pub const MOST: u32 = 5;

    /// Counts one before it is checked, so that many at once do not slip through.
    ///
    /// # Errors
    /// Too many lately: the seconds to wait.
    pub fn begin(&mut self, now: UnixMs) -> Result<(), u64> {
        if now < self.locked_until {
            return Err(self.locked_until.since_ms(now).div_ceil(1000));
        }
        self.wrong += 1;
        if self.wrong >= Tries::MOST {
            self.wrong = 0;
            self.lock_ms = (self.lock_ms * 2).clamp(LOCK_MS, LOCK_MOST_MS);
            self.locked_until = now.plus_ms(self.lock_ms);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lock_out_is_twice_as_long_until_a_right_one() {
        let (mut tries, mut now) = (Tries::default(), UnixMs(1));
        for wait_s in [30, 60, 120] {
            for _ in 0..Tries::MOST {
                tries.begin(now).expect("may try");
            }
            assert_eq!(tries.begin(now), Err(wait_s));
            now = now.plus_ms(wait_s * 1000);
        }
        tries.begin(now).expect("may try again");
    }
}
