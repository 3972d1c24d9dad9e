//! Many rows in one value.
//!
//! To bind a value costs more than what SQLite does with it then. So where a batch has many rows whose fields
//! all have fixed widths, the fields of all rows stand in one blob, from which the statement cuts them.

use super::statements::sql_int;
use crate::broker::rows::CoinRow;
use crate::coin::certificate::CoinCertificate;

/// A field of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// So many bytes.
    Bytes(usize),
    /// A whole number, in decimal digits: SQL reads those alone out of a blob.
    Number,
}

/// A sign, and the digits of the greatest number.
const NUMBER: usize = 20;

impl Field {
    fn width(self) -> usize {
        match self {
            Field::Bytes(width) => width,
            Field::Number => NUMBER,
        }
    }
}

/// Adds a number.
pub(super) fn number(number: i64, to: &mut Vec<u8>) {
    let mut digits = [b'0'; NUMBER];
    digits[0] = if number < 0 { b'-' } else { b'+' };
    let mut left = number.unsigned_abs();
    for digit in digits.iter_mut().skip(1).rev() {
        *digit = b'0'.saturating_add((left % 10) as u8);
        left /= 10;
    }
    to.extend_from_slice(&digits);
}

/// The rows in the first value bound, as a table `packed`, and the fields of one of them.
pub(super) fn sql(fields: &[Field]) -> (String, Vec<String>) {
    let row: usize = fields.iter().map(|field| field.width()).sum();
    let table = format!(
        "WITH RECURSIVE packed (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM packed \
         WHERE n + 1 < length(?1) / {row})"
    );
    let mut at = 1_usize;
    let cut = fields.iter().map(|field| {
        let width = field.width();
        let bytes = format!("substr(?1, {at} + n * {row}, {width})");
        at = at.saturating_add(width);
        match field {
            Field::Bytes(_) => bytes,
            Field::Number => format!("CAST({bytes} AS INTEGER)"),
        }
    });
    (table, cut.collect())
}

/// The fields of a coin as it is sold, in the order of its columns; all others are the same of all of them.
pub(super) const SOLD: [Field; 6] = [
    Field::Number,
    Field::Bytes(32),
    Field::Bytes(32),
    Field::Number,
    Field::Number,
    Field::Bytes(CoinCertificate::SIZE),
];

/// Whether a coin is as it is sold.
pub(super) fn is_sold(coin: &CoinRow) -> bool {
    let is_whole = coin.certificate.len() == CoinCertificate::SIZE;
    let fits = i64::try_from(coin.value.0).is_ok();
    is_whole && fits && coin.credited.is_zero() && coin.contests == 0 && !coin.settled
}

/// Adds a coin as it is sold.
pub(super) fn pack_sold(row: i64, coin: &CoinRow, to: &mut Vec<u8>) {
    number(row, to);
    to.extend_from_slice(&coin.id.0);
    to.extend_from_slice(&coin.account.0);
    number(sql_int(coin.value.0), to);
    number(i64::from(coin.expires.0), to);
    to.extend_from_slice(&coin.certificate);
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePool;
    use sqlx::{AssertSqlSafe, Row as _};

    use super::*;

    #[tokio::test]
    async fn what_was_packed_comes_out_row_by_row() {
        let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let (table, cut) = sql(&[Field::Number, Field::Bytes(3), Field::Number]);
        let sql = format!("{table} SELECT {} FROM packed", cut.join(", "));
        let numbers = [0, 1, -1, 7_000_000_000, i64::MAX, i64::MIN];
        for rows in [1, 2, numbers.len()] {
            let mut packed = Vec::new();
            for (n, value) in (0..).zip(&numbers[..rows]) {
                number(*value, &mut packed);
                packed.extend([n, 0, 255]);
                number(i64::from(n), &mut packed);
            }
            let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(packed);
            let found = query.fetch_all(&pool).await.unwrap();
            assert_eq!(found.len(), rows);
            for (n, row) in (0..).zip(&found) {
                assert_eq!(row.get::<i64, _>(0), numbers[usize::from(n)]);
                assert_eq!(row.get::<Vec<u8>, _>(1), [n, 0, 255]);
                assert_eq!(row.get::<i64, _>(2), i64::from(n));
            }
        }
    }
}
