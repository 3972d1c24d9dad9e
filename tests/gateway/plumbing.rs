//! Bytes pass, are held, and are kept apart, without any payment.

use std::time::Duration;

use dpay::gateway::{FreePolicy, Gateway, GatewayConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{LOOPBACK, make, node, same, socks, terms, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_through_two_gateways_and_every_byte_has_a_sender() {
    let (seeder, leecher) = (node().await, node().await);
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 5_000_001);
    seeder.add(&metainfo, &[], FreePolicy::On).await;
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    let mut most = 0;
    let watch = async {
        loop {
            for peer in leecher.gateway.snapshot().await {
                most = most.max(peer.verified_bytes);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        done = within(60, handle.wait_finished()) => done.expect("finishes"),
        () = watch => {}
    }
    same(&seeder, &leecher, "file.bin");
    assert!(most > 0, "deliveries are attributed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_that_dials_a_leecher_serves_it_too() {
    let (seeder, leecher) = (node().await, node().await);
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 1_000_000);
    let handle = leecher.add(&metainfo, &[], FreePolicy::On).await;
    let peers = [leecher.gateway.listen_addr()];
    seeder.add(&metainfo, &peers, FreePolicy::On).await;
    within(60, handle.wait_finished()).await.expect("finishes");
    same(&seeder, &leecher, "file.bin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_free_off_a_peer_that_does_not_pay_gets_nothing_until_it_is_on() {
    let (seeder, leecher) = (node().await, node().await);
    let metainfo = make(seeder.dir.path(), "file.bin", 64, 300_000);
    seeder.add(&metainfo, &[], FreePolicy::Off).await;
    let peers = [seeder.gateway.listen_addr()];
    let handle = leecher.add(&metainfo, &peers, FreePolicy::On).await;
    // Long enough for librqbit to hang up if nobody kept it company.
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert_eq!(handle.progress().bytes_have, 0);
    assert_eq!(leecher.gateway.snapshot().await.len(), 1);
    let free = terms(&metainfo, FreePolicy::On);
    seeder.gateway.set_torrent(metainfo.info_hash(), free);
    within(60, handle.wait_finished()).await.expect("finishes");
    same(&seeder, &leecher, "file.bin");
}

#[tokio::test]
async fn streams_that_are_not_bittorrent_are_relayed_as_they_are() {
    let gateway = Gateway::start(&GatewayConfig::new(LOOPBACK)).expect("starts");
    let server = TcpListener::bind(LOOPBACK).await.expect("binds");
    let target = server.local_addr().expect("address");
    let mut client = socks(&gateway, target).await.expect("connects");
    client
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .await
        .expect("writes");
    let (mut served, _) = within(5, server.accept()).await.expect("accepts");
    let mut asked = [0; 18];
    served.read_exact(&mut asked).await.expect("reads");
    assert_eq!(&asked, b"GET / HTTP/1.0\r\n\r\n");
    served.write_all(b"hello").await.expect("writes");
    drop(served);
    let mut answer = Vec::new();
    within(5, client.read_to_end(&mut answer))
        .await
        .expect("reads");
    assert_eq!(answer, b"hello");
}

#[tokio::test]
async fn the_gateway_does_not_let_our_engine_reach_itself() {
    let gateway = Gateway::start(&GatewayConfig::new(LOOPBACK)).expect("starts");
    let refused = socks(&gateway, gateway.listen_addr()).await;
    assert_eq!(refused.err(), Some(2));
}
