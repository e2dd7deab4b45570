//! Links, connections, and what a dead peer looks like.

use std::{io::ErrorKind, time::Duration};

use bytes::BytesMut;
use highwater::{
    runtime::{clock, net::connect},
    trace::{Event, StopKind},
};

use super::{another, connected, in_a_world, message, pass_ms, two_hosts};

/// Longest way of a packet over a link that nothing slows.
const LATENCY_MAX_MS: u64 = 5;
/// Longest wait for a retransmission after healing.
const RETRANSMISSION_MAX_MS: u64 = 210;

in_a_world! {
    fn a_message_arrives_after_the_latency_of_the_link(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        end_a.send("Fetch", 10).await.unwrap();
        let took = end_b.arrival_ms(100).await.unwrap();
        assert!((1..=LATENCY_MAX_MS).contains(&took), "{took} ms");
    }

    fn a_two_way_cut_is_a_black_hole_until_it_is_healed(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        world.cut("a", "b");
        world.cut("b", "a");
        end_a.send("Fetch", 10).await.unwrap();
        end_b.send("Fetch", 10).await.unwrap();
        assert_eq!(end_b.arrival_ms(60_000).await, None);
        assert_eq!(end_a.arrival_ms(60_000).await, None);
        let attempt = a.run(async { clock::timeout(Duration::from_secs(60), connect("b:1")).await.is_err() });
        assert_eq!(attempt.await, Some(true), "a connection attempt gets no answer, not even a refusal");
        world.heal("a", "b");
        world.heal("b", "a");
        let took = end_b.arrival_ms(1_000).await.expect("what was sent comes after healing");
        assert!(took <= RETRANSMISSION_MAX_MS, "{took} ms");
        end_a.arrival_ms(1_000).await.expect("in both directions");
    }

    fn a_one_way_cut_lets_the_other_direction_through(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        world.cut("a", "b");
        end_a.send("Fetch", 10).await.unwrap();
        end_b.send("Fetch", 10).await.unwrap();
        end_a.arrival_ms(100).await.expect("b still reaches a");
        assert_eq!(end_b.arrival_ms(10_000).await, None);
        world.heal("a", "b");
        end_b.arrival_ms(1_000).await.expect("and a reaches b after healing");
    }

    fn what_was_under_way_when_the_link_was_cut_waits_too_and_keeps_its_order(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        for bytes in 1..=5 {
            end_a.send("Fetch", bytes).await.unwrap();
        }
        world.cut("a", "b");
        assert_eq!(end_b.arrival_ms(1_000).await, None);
        world.heal("a", "b");
        for bytes in 1..=5 {
            let mut buffer = BytesMut::new();
            assert_eq!(end_b.reader.read(&mut buffer).await.unwrap(), bytes);
        }
    }

    fn a_slow_link_delays_one_direction_and_ends_with_zero(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        world.slow("a", "b", Duration::from_millis(300));
        end_a.send("Fetch", 10).await.unwrap();
        end_b.send("Fetch", 10).await.unwrap();
        assert!(end_a.arrival_ms(100).await.unwrap() <= LATENCY_MAX_MS);
        let took = end_b.arrival_ms(1_000).await.unwrap();
        assert!((290..=300 + LATENCY_MAX_MS).contains(&took), "{took} ms");
        world.slow("a", "b", Duration::ZERO);
        end_a.send("Fetch", 10).await.unwrap();
        assert!(end_b.arrival_ms(100).await.unwrap() <= LATENCY_MAX_MS);
    }

    fn dropped_messages_are_lost_with_their_connections_and_the_next_ones_arrive(world, seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, listener) = connected(&a, &b).await;
        let (mut other_a, mut other_b) = another(&a, &listener).await;
        world.drop_next("a", "b", "Fetch", 2);
        end_a.send("Produce", 10).await.unwrap();
        end_b.arrival_ms(100).await.expect("another API passes");
        for (from, to) in [(&mut end_a, &mut end_b), (&mut other_a, &mut other_b)] {
            from.send("Fetch", 10).await.unwrap();
            from.send("Produce", 10).await.unwrap();
            let mut buffer = BytesMut::new();
            assert_eq!(to.reader.read(&mut buffer).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(from.reader.read(&mut buffer).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        let lost = seen.all(|event| matches!(event, Event::MessageLost { reason, .. } if **reason == *"dropped"));
        assert_eq!(lost.len(), 2);
        let (mut end_a, mut end_b) = another(&a, &listener).await;
        end_a.send("Fetch", 10).await.unwrap();
        end_b.arrival_ms(100).await.expect("two were to be dropped, and a third arrives");
    }

    fn a_lossy_link_delivers_everything_in_order_and_late(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        world.lose("a", "b", 50);
        let begin = clock::now();
        for bytes in 1..=20 {
            end_a.send("Fetch", bytes).await.unwrap();
        }
        for bytes in 1..=20 {
            let mut buffer = BytesMut::new();
            assert_eq!(end_b.reader.read(&mut buffer).await.unwrap(), bytes);
        }
        assert!(clock::now().since(begin) >= Duration::from_millis(200), "of 20 messages none was sent again");
        world.lose("a", "b", 0);
        end_a.send("Fetch", 10).await.unwrap();
        assert!(end_b.arrival_ms(100).await.unwrap() <= LATENCY_MAX_MS);
    }

    fn a_limited_link_takes_a_second_for_what_it_carries_in_a_second(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        world.limit("a", "b", Some(1_000));
        end_a.send("Fetch", 500).await.unwrap();
        end_a.send("Fetch", 500).await.unwrap();
        end_b.send("Fetch", 100_000).await.unwrap();
        assert!(end_a.arrival_ms(100).await.unwrap() <= LATENCY_MAX_MS, "the way back is not limited");
        let first = end_b.arrival_ms(2_000).await.unwrap();
        assert!((495..=500 + LATENCY_MAX_MS).contains(&first), "{first} ms");
        let second = end_b.arrival_ms(2_000).await.unwrap();
        assert!((495..=500 + LATENCY_MAX_MS).contains(&second), "{second} ms after the first");
    }

    fn a_hold_keeps_back_one_api_until_it_is_released(world, seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, listener) = connected(&a, &b).await;
        let (mut other_a, mut other_b) = another(&a, &listener).await;
        world.hold("a", "b", "Fetch");
        end_a.send("Fetch", 10).await.unwrap();
        end_a.send("Produce", 20).await.unwrap();
        other_a.send("Produce", 30).await.unwrap();
        other_b.arrival_ms(100).await.expect("other APIs arrive");
        assert_eq!(end_b.arrival_ms(10_000).await, None, "what follows a held message on its connection waits too");
        assert_eq!(seen.all(|event| matches!(event, Event::MessageHeld { .. })).len(), 1);
        world.release("a", "b", Some("Fetch"));
        let mut buffer = BytesMut::new();
        assert_eq!(end_b.reader.read(&mut buffer).await.unwrap(), 10);
        assert_eq!(end_b.reader.read(&mut buffer).await.unwrap(), 20);
    }

    fn a_dead_process_on_a_live_host_resets_and_refuses(world, seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, _end_b, _listener) = connected(&a, &b).await;
        world.crash("b", StopKind::Kill);
        let mut buffer = BytesMut::new();
        let read = clock::timeout(Duration::from_millis(100), end_a.reader.read(&mut buffer)).await;
        assert_eq!(read.expect("an answer comes").unwrap_err().kind(), ErrorKind::ConnectionReset);
        let write = end_a.writer.write(message("Fetch", 10)).await;
        assert_eq!(write.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let refused = a.run(async { connect("b:1").await.map(drop).unwrap_err().kind() }).await;
        assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
        assert_eq!(seen.all(|event| matches!(event, Event::ConnectionReset { .. })).len(), 1);
    }

    fn a_dead_host_is_silent_until_it_is_back(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, _end_b, _listener) = connected(&a, &b).await;
        world.crash("b", StopKind::Power);
        let mut buffer = BytesMut::new();
        let minute = Duration::from_secs(60);
        end_a.send("Fetch", 10).await.expect("a half-open connection takes what it is given");
        assert!(clock::timeout(minute, end_a.reader.read(&mut buffer)).await.is_err(), "no answer");
        let attempt = a.run(async move { clock::timeout(minute, connect("b:1")).await.is_err() }).await;
        assert_eq!(attempt, Some(true), "no refusal either");
        world.restart("b");
        let read = clock::timeout(minute, end_a.reader.read(&mut buffer)).await;
        assert_eq!(read.expect("now the host answers").unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    fn a_reset_does_not_cross_a_cut_link(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, _end_b, _listener) = connected(&a, &b).await;
        world.cut("b", "a");
        world.crash("b", StopKind::Kill);
        world.restart("b");
        let mut buffer = BytesMut::new();
        let read = clock::timeout(Duration::from_secs(60), end_a.reader.read(&mut buffer)).await;
        assert!(read.is_err(), "nothing arrives over a cut link");
        world.heal("b", "a");
        let read = clock::timeout(Duration::from_secs(60), end_a.reader.read(&mut buffer)).await;
        assert_eq!(read.expect("it comes after healing").unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    fn nobody_sends_again_for_a_dead_process(world, seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        world.cut("a", "b");
        end_a.send("Fetch", 10).await.unwrap();
        world.crash("a", StopKind::Kill);
        pass_ms(1_000).await;
        world.heal("a", "b");
        let mut buffer = BytesMut::new();
        let read = clock::timeout(Duration::from_secs(60), end_b.reader.read(&mut buffer)).await;
        assert_eq!(read.expect("the reset arrives").unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(seen.all(|event| matches!(event, Event::MessageLost { .. })).len(), 1);
    }

    fn a_sender_waits_while_its_peer_does_not_read(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        let mut sent = 0;
        while clock::timeout(Duration::from_secs(1), end_a.send("Fetch", 64 * 1024)).await.is_ok() {
            sent += 1;
            assert!(sent < 100, "the window has an end");
        }
        assert!(sent >= 2, "and room for more than one message");
        end_b.arrival_ms(100).await.expect("the peer reads");
        let room = clock::timeout(Duration::from_secs(1), end_a.send("Fetch", 64 * 1024)).await;
        room.expect("that makes room").unwrap();
    }

    fn a_clean_end_of_one_direction_is_read_after_everything_that_was_sent(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        end_a.send("Fetch", 10).await.unwrap();
        drop(end_a.writer);
        let mut buffer = BytesMut::new();
        assert_eq!(end_b.reader.read(&mut buffer).await.unwrap(), 10);
        assert_eq!(end_b.reader.read(&mut buffer).await.unwrap(), 0);
        end_b.send("Fetch", 10).await.expect("the way back is still open");
        assert_eq!(end_a.reader.read(&mut buffer).await.unwrap(), 10);
    }

    fn a_paused_process_accepts_and_reads_when_it_goes_on(world, seen) {
        let (a, b) = two_hosts(&world);
        let (mut end_a, mut end_b, _listener) = connected(&a, &b).await;
        let read = b.run(async move { end_b.arrival_ms(60_000).await });
        world.pause("b");
        end_a.send("Fetch", 10).await.expect("the network goes on");
        let began = clock::now();
        let resume = async {
            pass_ms(5_000).await;
            world.resume("b");
        };
        let (read, ()) = tokio::join!(read, resume);
        assert!(read.unwrap().is_some(), "it is read in the end");
        assert!(clock::now().since(began) >= Duration::from_secs(5), "but not before the process goes on");
        let pauses = seen.all(|event| matches!(event, Event::NodePaused | Event::NodeResumed));
        assert_eq!(pauses.len(), 2);
    }
}
