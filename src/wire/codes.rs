//! The words of `dp_pay` messages: enums that are one short text on the wire (`docs/protocol.md`
//! section 8). Within version 1 the words are fixed; any other word is an error.

/// Declares an enum whose variants are words on the wire.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word on the wire.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            /// The variant of a word from the wire; `None` for any other word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words!(
    /// Whom a payee serves without payment.
    FreePolicy {
        /// Nobody.
        Off = "off",
        /// Others get the bandwidth that paying peers do not use.
        Leftover = "leftover",
        /// Everybody, as any client does.
        On = "on",
    }
);

words!(
    /// How far a channel's acceptance is.
    OpenedState {
        /// The open is recorded; its slots are not yet read back.
        Provisional = "provisional",
        /// The spend is the only record in its slots: ticks count from now on.
        Accepted = "accepted",
    }
);

words!(
    /// Why a payee takes no payment on a channel, or none any more.
    RefuseReason {
        /// The path does not prove a holding: malformed, or a signature or hash is wrong.
        Path = "path",
        /// The coin's broker is none that the payee accepts.
        Broker = "broker",
        /// The coin expires too soon.
        Expired = "expired",
        /// The holding is worth less than the smallest channel in the offer.
        TooSmall = "small",
        /// The holding was opened before, here or on another connection.
        Seen = "seen",
        /// The broker's spent list has the holding, an ancestor with another spend, or a key.
        Spent = "spent",
        /// Another record lies in a slot of the holding or of its path.
        Conflict = "conflict",
        /// Too few DHT nodes answered to tell; another coin may do better.
        Undecided = "undecided",
        /// `resume` names a spend that the payee does not know: send the same open again.
        Unknown = "unknown",
        /// Too many channels at once, or the payee's wallet did not answer.
        Busy = "busy",
        /// The payee has no certified key to be paid on.
        NoKey = "nokey",
        /// The proposal lay too long without an open.
        Late = "late",
        /// The payee is about to go.
        Stopping = "stopping",
    }
);

words!(
    /// Why a payee holds requests back, as `due` tells.
    WaitReason {
        /// It holds none back.
        None = "no",
        /// Nothing is proposed yet.
        Propose = "propose",
        /// The provisional allowance is used up; an open must come first.
        Open = "open",
        /// The provisional allowance is used up; the open is being looked up.
        Accept = "accept",
        /// The window is used up: ticks are due.
        Ticks = "ticks",
        /// What the open coins buy is used up: the next channel must be accepted first.
        Coin = "coin",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_no_other_does() {
        for reason in RefuseReason::ALL {
            assert_eq!(RefuseReason::from_word(reason.word()), Some(*reason));
        }
        for reason in WaitReason::ALL {
            assert_eq!(WaitReason::from_word(reason.word()), Some(*reason));
        }
        assert_eq!(
            FreePolicy::from_word("leftover"),
            Some(FreePolicy::Leftover)
        );
        assert_eq!(OpenedState::from_word("Accepted"), None);
        assert_eq!(RefuseReason::from_word(""), None);
    }
}
