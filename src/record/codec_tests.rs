//! Properties of every layout: what is encoded reads back, no bytes have a second meaning, and
//! nothing that strangers send makes a decoder panic.

use proptest::array::uniform3;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::coin::certificate::CoinCertificate;
use crate::coin::statement::{Close, Redeem, Spend};
use crate::coin::{
    ChainValue, Commitment, HoldingId, PseudonymCertificate, PublicKey, RecordKey, Signature,
    Statement,
};
use crate::units::{Day, Units};

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey)
}

fn signature() -> impl Strategy<Value = Signature> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(r, s)| {
        let mut both = [0; 64];
        both[..32].copy_from_slice(&r);
        both[32..].copy_from_slice(&s);
        Signature(both)
    })
}

fn coin() -> impl Strategy<Value = CoinCertificate> {
    (
        key(),
        any::<u32>(),
        key(),
        any::<(u32, u32)>(),
        any::<[u8; 16]>(),
        signature(),
    )
        .prop_map(
            |(broker, value, holder, (issued, expires), nonce, signature)| CoinCertificate {
                broker,
                value: Units(value.into()),
                holder,
                issued: Day(issued),
                expires: Day(expires),
                nonce,
                signature,
            },
        )
}

fn pseudonym() -> impl Strategy<Value = PseudonymCertificate> {
    (key(), key(), any::<u32>(), signature()).prop_map(|(broker, holder, expires, signature)| {
        PseudonymCertificate {
            broker,
            holder,
            expires: Day(expires),
            signature,
        }
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    let bytes = any::<[u8; 32]>;
    prop_oneof![
        (bytes(), key(), bytes()).prop_map(|(holding, payee, anchor)| {
            Statement::Spend(Spend {
                holding: HoldingId(holding),
                payee,
                anchor: ChainValue(anchor),
            })
        }),
        (bytes(), any::<u32>(), bytes()).prop_map(|(spend, k, wk)| {
            Statement::Close(Close {
                spend: Commitment(spend),
                k,
                wk: ChainValue(wk),
            })
        }),
        (bytes(), key()).prop_map(|(holding, account)| {
            Statement::Redeem(Redeem {
                holding: HoldingId(holding),
                account,
            })
        }),
    ]
}

fn open_spend() -> impl Strategy<Value = OpenSpend> {
    let bytes = any::<[u8; 32]>;
    (key(), bytes(), bytes(), uniform3(signature()), pseudonym()).prop_map(
        |(payee, anchor, record_key, signatures, payee_certificate)| OpenSpend {
            payee,
            anchor: ChainValue(anchor),
            record_key: RecordKey(record_key),
            signatures,
            payee_certificate,
        },
    )
}

fn close_part() -> impl Strategy<Value = ClosePart> {
    (any::<u32>(), any::<[u8; 32]>(), uniform3(signature())).prop_map(|(k, wk, signatures)| {
        ClosePart {
            k,
            wk: ChainValue(wk),
            signatures,
        }
    })
}

fn redeem_part() -> impl Strategy<Value = RedeemPart> {
    (key(), any::<[u8; 32]>(), uniform3(signature())).prop_map(
        |(account, record_key, signatures)| RedeemPart {
            account,
            record_key: RecordKey(record_key),
            signatures,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    (any::<bool>(), open_spend(), close_part()).prop_map(|(share, spend, close)| Link {
        role: if share {
            Role::PayeeShare
        } else {
            Role::Change
        },
        spend,
        close,
    })
}

fn path() -> impl Strategy<Value = Path> {
    (coin(), vec(link(), 0..=MAX_LINKS_REDEEM)).prop_map(|(coin, links)| Path { coin, links })
}

fn fraud_proof() -> impl Strategy<Value = FraudProof> {
    let certificate = prop_oneof![
        coin().prop_map(ProofCertificate::Coin),
        pseudonym().prop_map(ProofCertificate::Payee),
    ];
    let item = || (any::<i64>(), vec(any::<u8>(), 1..=1000), signature());
    (certificate, any::<[u8; 32]>(), item(), item()).prop_filter_map(
        "the items are the same",
        |(certificate, salt, first, second)| {
            let item = |(seq, value, signature)| Item {
                key: certificate.key(),
                salt: Salt(salt),
                seq,
                value,
                signature,
            };
            FraudProof::new(certificate, item(first), item(second)).ok()
        },
    )
}

/// Encodes again whatever the bytes decode to; `None` where they do not.
type DecodeEncode = fn(&[u8]) -> Option<Vec<u8>>;

/// Every layout.
const LAYOUTS: [DecodeEncode; 10] = [
    |b| Some(CoinCertificate::decode(b).ok()?.encode().to_vec()),
    |b| Some(PseudonymCertificate::decode(b).ok()?.encode().to_vec()),
    |b| Some(Statement::decode(b).ok()?.encode().to_vec()),
    |b| Some(OpenSpend::decode(b).ok()?.encode().to_vec()),
    |b| Some(ClosePart::decode(b).ok()?.encode().to_vec()),
    |b| Some(RedeemPart::decode(b).ok()?.encode().to_vec()),
    |b| Some(Link::decode(b).ok()?.encode().to_vec()),
    |b| Some(Path::decode(b, MAX_LINKS_REDEEM).ok()?.encode()),
    |b| Some(FraudProof::decode(b).ok()?.encode()),
    |b| Some(Value::from_bencoded(b).ok()?.as_bencoded().to_vec()),
];

/// The bytes of some layout, all of them well formed.
fn encoded() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        coin().prop_map(|x| x.encode().to_vec()),
        pseudonym().prop_map(|x| x.encode().to_vec()),
        statement().prop_map(|x| x.encode().to_vec()),
        open_spend().prop_map(|x| x.encode().to_vec()),
        close_part().prop_map(|x| x.encode().to_vec()),
        redeem_part().prop_map(|x| x.encode().to_vec()),
        link().prop_map(|x| x.encode().to_vec()),
        path().prop_map(|x| x.encode()),
        fraud_proof().prop_map(|x| x.encode()),
        (any::<[u8; 32]>(), statement())
            .prop_map(|(key, x)| seal(&RecordKey(key), &x.encode()).as_bencoded().to_vec()),
    ]
}

/// What strangers do to bytes: overwrite, insert, remove, cut, repeat.
fn mutate(mut bytes: Vec<u8>, changes: &[(u8, prop::sample::Index, u8)]) -> Vec<u8> {
    for (kind, at, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match kind % 6 {
            0 | 1 => bytes[at] = *byte,
            2 => bytes[at] ^= 1 << (byte % 8),
            3 => bytes.insert(at, *byte),
            4 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// No layout reads these bytes as anything that is encoded otherwise.
fn assert_no_second_encoding(bytes: &[u8]) {
    for layout in LAYOUTS {
        if let Some(again) = layout(bytes) {
            assert_eq!(again, bytes);
        }
    }
}

proptest! {
    #[test]
    fn every_layout_reads_back_what_it_wrote(
        coin in coin(),
        pseudonym in pseudonym(),
        statement in statement(),
        redeem in redeem_part(),
        path in path(),
        proof in fraud_proof(),
        record_key in any::<[u8; 32]>(),
    ) {
        prop_assert_eq!(CoinCertificate::decode(&coin.encode()), Ok(coin));
        prop_assert_eq!(PseudonymCertificate::decode(&pseudonym.encode()), Ok(pseudonym));
        prop_assert_eq!(Statement::decode(&statement.encode()), Ok(statement));
        prop_assert_eq!(RedeemPart::decode(&redeem.encode()), Ok(redeem));
        for link in &path.links {
            prop_assert_eq!(OpenSpend::decode(&link.spend.encode()), Ok(link.spend));
            prop_assert_eq!(ClosePart::decode(&link.close.encode()), Ok(link.close));
            prop_assert_eq!(Link::decode(&link.encode()), Ok(*link));
        }
        prop_assert_eq!(Path::decode(&path.encode(), MAX_LINKS_REDEEM), Ok(path));
        prop_assert_eq!(FraudProof::decode(&proof.encode()), Ok(proof));
        let key = RecordKey(record_key);
        prop_assert_eq!(open(&key, &seal(&key, &statement.encode())), Ok(statement));
    }

    #[test]
    fn each_encoding_belongs_to_its_layout(bytes in encoded()) {
        prop_assert!(LAYOUTS.iter().any(|layout| layout(&bytes).is_some()));
        assert_no_second_encoding(&bytes);
    }

    #[test]
    fn mutated_bytes_are_refused_or_are_the_only_encoding_of_something_else(
        bytes in encoded(),
        changes in vec(any::<(u8, prop::sample::Index, u8)>(), 1..8),
    ) {
        assert_no_second_encoding(&mutate(bytes, &changes));
    }

    #[test]
    fn random_bytes_of_any_length_never_panic(bytes in vec(any::<u8>(), 0..6000)) {
        assert_no_second_encoding(&bytes);
    }

    #[test]
    fn random_bytes_of_the_right_length_and_head_never_panic(
        size in prop::sample::select(vec![98usize, 134, 150, 158, 159, 228, 256, 422, 651, 810, 1461]),
        head in any::<[bool; 2]>(),
        kind in 0u8..7,
        mut bytes in vec(any::<u8>(), 1461),
    ) {
        bytes.truncate(size);
        if head[0] {
            bytes[..2].copy_from_slice(&[1, kind]);
        }
        if head[1] && size >= 159 {
            bytes[158] = ((size - 159) / Link::SIZE) as u8;
        }
        assert_no_second_encoding(&bytes);
    }

    #[test]
    fn paths_of_random_parts_prove_nothing_and_verify_without_panic(
        path in path(),
        today in any::<Option<(u32, u32)>>(),
    ) {
        let today = today.map(|(day, margin)| (Day(day), margin));
        prop_assert!(path.verify(&|_| true, today).is_err());
        let _ = (path.holding(), path.records());
    }

    #[test]
    fn proofs_of_random_parts_prove_nothing(proof in fraud_proof()) {
        prop_assert!(proof.verify(&|_| true).is_err());
    }
}
