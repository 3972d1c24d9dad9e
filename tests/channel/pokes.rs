//! What can happen to a machine on its own, at random.

use dpay::channel::{Payer, PayerAction};
use dpay::coin::{ChainValue, Commitment};
use dpay::units::Units;
use dpay::wire::message::{Due, Message, OpenedState, RefuseReason, WaitReason};
use proptest::prelude::*;

use crate::pair::MIB;

#[derive(Clone, Debug)]
pub enum PayeePoke {
    Propose(u32),
    Open(u32, u32),
    Tick(u32, u32),
    CloseRequest(u32, u32),
    Any(Box<Message>),
    Checked(u32, bool),
    Key(u32),
    NoKey(u32),
    Recorded(u32, bool),
    Verdict(u32, bool),
    Closed(u32),
    Served(u64),
    Held,
    Wait(u64),
    Stop,
    Resume(u32, u32, u32),
    TakenUp(u32, u32),
    LetGo(u32, u32),
}

pub fn payee_poke() -> impl Strategy<Value = PayeePoke> {
    let channel = 0u32..5;
    let ok = prop::bool::weighted(0.9);
    prop_oneof![
        3 => channel.clone().prop_map(PayeePoke::Propose),
        3 => (channel.clone(), channel.clone()).prop_map(|(a, _)| PayeePoke::Open(a, a)),
        1 => (channel.clone(), channel.clone()).prop_map(|(a, b)| PayeePoke::Open(a, b)),
        3 => (channel.clone(), 0u32..18).prop_map(|(a, b)| PayeePoke::Tick(a, b)),
        1 => (channel.clone(), 0u32..18).prop_map(|(a, b)| PayeePoke::CloseRequest(a, b)),
        1 => any_message().prop_map(|message| PayeePoke::Any(Box::new(message))),
        3 => (channel.clone(), ok).prop_map(|(a, b)| PayeePoke::Checked(a, b)),
        2 => channel.clone().prop_map(PayeePoke::Key),
        1 => channel.clone().prop_map(PayeePoke::NoKey),
        3 => (channel.clone(), ok).prop_map(|(a, b)| PayeePoke::Recorded(a, b)),
        3 => (channel.clone(), ok).prop_map(|(a, b)| PayeePoke::Verdict(a, b)),
        1 => channel.prop_map(PayeePoke::Closed),
        2 => (0u64..8 * MIB).prop_map(PayeePoke::Served),
        1 => Just(PayeePoke::Held),
        3 => (0u32..5, 0u32..5, 1u32..18).prop_map(|(a, b, k)| PayeePoke::Resume(a, b, k)),
        3 => (0u32..5, 0u32..5).prop_map(|(a, b)| PayeePoke::TakenUp(a, b)),
        1 => (0u32..5, 1u32..18).prop_map(|(a, k)| PayeePoke::LetGo(a, k)),
        1 => (0u64..100_000).prop_map(PayeePoke::Wait),
        1 => Just(PayeePoke::Stop),
    ]
}

#[derive(Clone, Debug)]
pub enum PayerPoke {
    Offer(u64),
    Key(u32),
    Any(Box<Message>),
    Reserved(bool),
    Durable(bool),
    Delivered(u64),
    Verified(u64),
    Wanted(u64),
    Wait(u64),
    Stop,
}

pub fn payer_poke() -> impl Strategy<Value = PayerPoke> {
    let ok = prop::bool::weighted(0.9);
    prop_oneof![
        3 => Just(PayerPoke::Offer(1024)),
        3 => (0u32..4).prop_map(PayerPoke::Key),
        3 => any_message().prop_map(|message| PayerPoke::Any(Box::new(message))),
        4 => ok.prop_map(PayerPoke::Reserved),
        4 => ok.prop_map(PayerPoke::Durable),
        2 => (0u64..4 * MIB).prop_map(PayerPoke::Delivered),
        2 => (0u64..4 * MIB).prop_map(PayerPoke::Verified),
        2 => (0u64..400 * MIB).prop_map(PayerPoke::Wanted),
        1 => (0u64..100_000).prop_map(PayerPoke::Wait),
        1 => Just(PayerPoke::Stop),
    ]
}

/// Messages that carry nothing signed, for both directions.
fn any_message() -> impl Strategy<Value = Message> {
    let channel = 0u32..4;
    let state = prop_oneof![Just(OpenedState::Provisional), Just(OpenedState::Accepted)];
    let reason = prop::sample::select(RefuseReason::ALL);
    let why = prop::sample::select(WaitReason::ALL);
    let spend = Commitment([7; 32]);
    let wk = ChainValue([9; 32]);
    prop_oneof![
        4 => (channel.clone(), state)
            .prop_map(|(channel, state)| Message::Opened { channel, state }),
        3 => (channel.clone(), reason.clone()).prop_map(|(channel, reason)| Message::Refused {
            channel,
            reason,
            close: None,
        }),
        2 => (any::<u64>(), why).prop_map(|(window_bytes, why)| Message::Due(Due {
            served_bytes: 0,
            due: Units(0),
            acknowledged: Units(0),
            window_bytes,
            why,
        })),
        1 => channel.clone().prop_map(move |channel| Message::Resume { channel, spend, k: 1, wk }),
        1 => channel.prop_map(move |channel| Message::Tick { channel, k: 3, wk }),
        1 => Just(Message::CloseRequest { spend, k: 0, wk }),
        1 => Just(Message::Conflict { proof: vec![1, 2, 3] }),
    ]
}

/// What a payer has asked its wallet for.
#[derive(Default)]
pub struct Asked {
    pub reserves: Vec<(u32, Units)>,
    pub commits: Vec<(u32, dpay::coin::HoldingId)>,
    /// Holdings that are set aside or spent for the payer.
    pub unresolved: u32,
}

impl Asked {
    pub fn drain(&mut self, payer: &mut Payer) {
        while let Some(action) = payer.poll_action() {
            match action {
                PayerAction::Reserve {
                    channel, at_most, ..
                } => {
                    self.reserves.push((channel, at_most));
                }
                PayerAction::Commit {
                    channel, holding, ..
                } => {
                    self.commits.push((channel, holding));
                }
                PayerAction::Release { .. }
                | PayerAction::Closed { .. }
                | PayerAction::Ended { .. } => self.unresolved -= 1,
                _ => {}
            }
        }
    }
}
