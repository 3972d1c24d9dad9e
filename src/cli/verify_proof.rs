//! `dpay verify-proof FILE`: whether a proof of fraud holds, with nothing but the file and the
//! broker's key (`docs/protocol.md` section 4).

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use super::{EXIT_CHECK, EXIT_DONE};
use crate::coin::keys::PublicKey;
use crate::record::{FraudProof, Item, ProofCertificate, ProofError, Value};

/// Longest file that is read; a proof as hex has fewer bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// Which proof, and whose broker.
#[derive(Clone, Debug, Args)]
pub struct VerifyProofArgs {
    /// The proof: its bytes, or these as hex
    pub file: PathBuf,
    /// The broker's key; without it, the one that the proof names is told
    #[arg(long, value_name = "HEX")]
    pub broker_key: Option<PublicKey>,
}

/// Checks the file and says what it proves. Exit code 0 where it holds, 3 where it does not.
///
/// # Errors
/// A file that cannot be read, or is too long to be a proof.
pub fn run(args: &VerifyProofArgs, as_json: bool) -> Result<u8> {
    let bytes = read(args)?;
    let broker = args.broker_key;
    let checked = FraudProof::decode(&bytes).and_then(|proof| {
        proof.verify(&|key| broker.is_none_or(|wanted| wanted == *key))?;
        Ok(proof)
    });
    match checked {
        Ok(proof) => {
            tell(&proof, broker.is_some(), as_json);
            Ok(EXIT_DONE)
        }
        Err(fault) => {
            refuse(args, fault, as_json);
            Ok(EXIT_CHECK)
        }
    }
}

fn read(args: &VerifyProofArgs) -> Result<Vec<u8>> {
    let path = args.file.display();
    let file = std::fs::File::open(&args.file).with_context(|| format!("cannot open {path}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {path}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        bail!("{path} has more than {MAX_FILE_BYTES} bytes: no proof is that long");
    }
    let text = std::str::from_utf8(&bytes).ok().map(str::trim);
    let decoded = text.and_then(|text| hex::decode(text).ok());
    Ok(decoded.unwrap_or(bytes))
}

fn tell(proof: &FraudProof, is_given: bool, as_json: bool) {
    let certificate = proof.certificate();
    let [first, second] = proof.items();
    if as_json {
        let line = json!({
            "event": "proof", "holds": true,
            "key": proof.key(), "broker": certificate.broker(), "broker_key_given": is_given,
            "certificate": kind(certificate), "salt": proof.salt(),
            "items": [shown(first), shown(second)],
        });
        println!("{line}");
        return;
    }
    println!(
        "The proof holds: the holder of {} signed two statements for one place.",
        proof.key()
    );
    println!("  certified by broker {}", certificate.broker());
    println!("  the certificate is a {}", kind(certificate));
    println!("  salt {}", proof.salt());
    for (n, item) in [(1, first), (2, second)] {
        let c = commitment(item).unwrap_or_else(|| "no record".to_owned());
        println!("  item {n}: seq {}, c {c}", item.seq);
    }
    if !is_given {
        println!("Compare the broker's key with the one you know, or give it with --broker-key.");
    }
}

fn refuse(args: &VerifyProofArgs, fault: ProofError, as_json: bool) {
    if as_json {
        let line = json!({"event": "proof", "holds": false, "why": fault.to_string()});
        println!("{line}");
    } else {
        println!("{} proves nothing: {fault}.", args.file.display());
    }
}

fn kind(certificate: &ProofCertificate) -> &'static str {
    match certificate {
        ProofCertificate::Coin(_) => "coin",
        ProofCertificate::Payee(_) => "pseudonym certificate",
    }
}

fn shown(item: &Item) -> serde_json::Value {
    json!({"seq": item.seq, "c": commitment(item), "value": hex::encode(&item.value)})
}

/// c, where the item has the form of a record.
fn commitment(item: &Item) -> Option<String> {
    let value = Value::from_bencoded(&item.value).ok()?;
    Some(value.commitment().to_string())
}
