use proptest::prelude::*;

use super::*;

#[test]
fn places_are_shared_out_in_powers_of_two() {
    assert_eq!(places_per_cpu(5000, 2), 2048);
    assert_eq!(places_per_cpu(65_536, 1), 65_536);
    assert_eq!(places_per_cpu(1, 128), 1);
}

/// What happens to a place.
#[derive(Clone, Copy, Debug)]
enum Step {
    Packet(u64),
    Taken,
    ReadRing,
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..2000_u64).prop_map(Step::Packet),
        2 => Just(Step::Taken),
        1 => Just(Step::ReadRing),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #[test]
    fn every_packet_is_reported_once(
        steps in proptest::collection::vec(step(), 0..200)
    ) {
        let mut reported = Reported::new(1);
        let (mut generation, mut packets, mut bytes) = (1, 0, 0);
        let (mut sent, mut seen) = ((0, 0), (0, 0));
        let mut ring = Vec::new();
        let mut read = |ring: &mut Vec<Totals>, reported: &mut Reported| {
            for totals in ring.drain(..) {
                let (packets, bytes) = reported.left(&totals);
                seen = (seen.0 + packets, seen.1 + bytes);
            }
        };
        let mut swept = (0, 0);
        for step in steps {
            match step {
                Step::Packet(length) => {
                    (packets, bytes) = (packets + 1, bytes + length);
                    sent = (sent.0 + 1, sent.1 + length);
                }
                Step::Taken => {
                    if packets > 0 {
                        ring.push(Totals { generation, packets, bytes, place: 0, reserved: 0 });
                    }
                    (generation, packets, bytes) = (generation + 1, 0, 0);
                }
                Step::ReadRing => read(&mut ring, &mut reported),
                Step::Sweep => {
                    // What was sent since the ring was read is still in it.
                    if reported.is_new(0, generation, packets) {
                        let new = reported.present(0, generation, packets, bytes);
                        swept = (swept.0 + new.0, swept.1 + new.1);
                    }
                    read(&mut ring, &mut reported);
                }
            }
        }
        read(&mut ring, &mut reported);
        if reported.is_new(0, generation, packets) {
            let new = reported.present(0, generation, packets, bytes);
            swept = (swept.0 + new.0, swept.1 + new.1);
        }
        prop_assert_eq!((seen.0 + swept.0, seen.1 + swept.1), sent);
    }
}
