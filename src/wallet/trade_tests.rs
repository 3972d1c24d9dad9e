//! Redemptions that the broker answers in part.

use super::fixture::{NOW, REST, Side};
use super::trade::{Redeemable, Redeemed, begin_redemption, redeemable, redeemed, unfinished};
use super::{Effect, RequestId};
use crate::coin::ids::HoldingId;
use crate::units::{Units, UnixMs};

fn waits(until: Option<UnixMs>) -> Redeemed {
    Redeemed::Waits {
        until,
        why: "two statements".to_owned(),
    }
}

fn asked() -> (Side, RequestId, Vec<HoldingId>) {
    let mut side = Side::new(1);
    side.buy(&[64, 64], NOW);
    let ids = redeemable(&side.rows, Redeemable::All, NOW);
    let request = side.request();
    side.write(begin_redemption(&side.rows, request, &ids, NOW).expect("available"));
    (side, request, ids)
}

#[test]
fn what_is_contested_waits_by_itself_and_the_rest_is_credited() {
    let (mut side, request, ids) = asked();
    let credited = Redeemed::Credited {
        units: Units(64),
        pending_until: NOW,
    };
    let outcomes = [waits(Some(NOW)), credited.clone()];
    let change = redeemed(&side.rows, &request, &outcomes, vec![1], REST, NOW);
    side.write(change.expect("fits"));
    assert_eq!(side.rows.meta.books.redeemed, Units(64));
    assert_eq!(unfinished(&side.rows), [Effect::SendRedemption(REST)]);
    assert_eq!(side.rows.redemptions[&REST].holdings, ids[..1]);
    assert_eq!(side.rows.redemptions[&request].holdings, ids[1..]);
    side.crash();
    let change = redeemed(&side.rows, &REST, &[credited], vec![2], request, NOW);
    side.write(change.expect("fits"));
    assert_eq!(side.rows.meta.books.redeemed, Units(128));
    assert_eq!((unfinished(&side.rows), side.held()), (Vec::new(), 0));
}

#[test]
fn where_nothing_is_final_the_same_is_asked_again_unless_its_answer_is_kept() {
    let (mut side, request, ids) = asked();
    let kept = [waits(Some(NOW)), waits(None)];
    let change = redeemed(&side.rows, &request, &kept, vec![1], REST, NOW);
    assert!(change.expect("fits").is_empty());
    let flooded = [waits(None), waits(None)];
    let change = redeemed(&side.rows, &request, &flooded, vec![1], REST, NOW);
    side.write(change.expect("fits"));
    assert_eq!(unfinished(&side.rows), [Effect::SendRedemption(REST)]);
    assert_eq!(side.rows.redemptions[&REST].holdings, ids);
}
