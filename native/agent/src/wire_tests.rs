use super::*;
use crate::test_random::Random;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, kind, channel, payload);
    bytes
}

fn frames(parser: &mut FrameParser, bytes: &[u8]) -> Vec<Frame> {
    let mut found = Vec::new();
    parser.push(bytes, |frame| found.push(frame));
    found
}

const HELLO: &[u8] = b"hello";

fn is_hello(found: &[Frame]) -> bool {
    found.last() == Some(&Frame { kind: 1, channel: 7, payload: HELLO.to_vec() })
}

#[test]
fn frames_come_out_as_they_went_in_whatever_the_pieces() {
    let stream = [frame(1, 2, b""), frame(3, 4, &[0; 1000]), vec![0; 5], frame(5, 65535, b"xyz")].concat();
    for size in [1, 2, 7, 8, 9, 500, stream.len()] {
        let mut parser = FrameParser::default();
        let found: Vec<Frame> = stream.chunks(size).flat_map(|piece| frames(&mut parser, piece)).collect();
        let kinds: Vec<(u8, u16, usize)> = found.iter().map(|f| (f.kind, f.channel, f.payload.len())).collect();
        assert_eq!(kinds, [(1, 2, 0), (3, 4, 1000), (5, 65535, 3)]);
    }
}

#[test]
fn the_longest_frame_passes_and_a_longer_one_does_not() {
    let mut parser = FrameParser::default();
    assert_eq!(frames(&mut parser, &frame(1, 1, &vec![1; MAX_PAYLOAD_BYTES])).len(), 1);
    let mut long = frame(1, 1, b"");
    long[4..8].copy_from_slice(&(MAX_PAYLOAD_BYTES as u32 + 1).to_le_bytes());
    assert!(frames(&mut parser, &long).is_empty());
    assert!(frames(&mut parser, &frame(1, 7, HELLO)).is_empty(), "it is lost");
    assert!(is_hello(&frames(&mut parser, &[vec![0; RESYNC_ZEROS], frame(1, 7, HELLO)].concat())));
}

#[test]
fn a_frame_that_was_cut_anywhere_is_dropped_and_the_next_one_found() {
    let whole = frame(6, 9, b"what a process reads");
    for cut in 0..whole.len() {
        let mut parser = FrameParser::default();
        let found = frames(
            &mut parser,
            &[&whole[..cut], &vec![0; MAX_FRAME_BYTES + RESYNC_ZEROS], &frame(1, 7, HELLO)].concat(),
        );
        assert!(is_hello(&found) && found.len() == 1, "cut at {cut}: {found:?}");
    }
}

#[test]
fn whatever_came_before_a_run_of_zeros_leads_back_to_frames() {
    let mut random = Random::new(7);
    for _ in 0..2000 {
        let mut parser = FrameParser::default();
        let mut noise = random.bytes(300);
        if random.below(2) == 0 {
            noise = frame(random.byte(), 3, &noise);
            for _ in 0..random.below(4) {
                let at = random.below(noise.len());
                noise[at] = random.byte();
            }
        }
        for piece in noise.chunks(1 + random.below(50)) {
            parser.push(piece, |frame| assert!(frame.payload.len() <= MAX_PAYLOAD_BYTES));
            assert!(parser.held.len() < MAX_FRAME_BYTES);
        }
        let after = [vec![0; MAX_FRAME_BYTES + RESYNC_ZEROS], frame(1, 7, HELLO)].concat();
        assert!(is_hello(&frames(&mut parser, &after)));
    }
}
