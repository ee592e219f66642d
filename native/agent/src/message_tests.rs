use super::*;
use crate::test_random::Random;

fn process_payload() -> Vec<u8> {
    let mut to = Writer::default();
    to.u16(2).bytes(b"sh").bytes(b"-c").u16(1).bytes(b"A=b").bytes(b"/").u32(1).u32(2).u16(1).u32(3);
    to.u64(7).u8(1).u32(65536);
    to.finish()
}

#[test]
fn a_process_is_read_field_by_field() {
    let Ok(Request::Start { process, window }) = Request::decode(asked::START, &process_payload()) else {
        panic!("it is well formed");
    };
    assert_eq!(process.command, [b"sh".to_vec(), b"-c".to_vec()]);
    assert_eq!((process.uid, process.gid, process.groups), (1, 2, vec![3]));
    assert_eq!((process.capabilities, process.no_new_privileges, window), (7, true, 65536));
}

#[test]
fn a_payload_that_is_cut_or_too_long_is_refused() {
    let whole = process_payload();
    for cut in 0..whole.len() {
        assert!(Request::decode(asked::START, &whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Request::decode(asked::START, &[whole, vec![0]].concat()).is_err());
}

#[test]
fn no_string_with_a_nul_and_no_relative_path_passes() {
    let mut to = Writer::default();
    to.u16(1).bytes(b"s\0h").u16(0).bytes(b"/").u32(0).u32(0).u16(0).u64(0).u8(0).u32(0);
    assert!(Request::decode(asked::EXEC, &to.finish()).is_err());
    let mut to = Writer::default();
    to.u16(1).bytes(b"sh").u16(0).bytes(b"tmp").u32(0).u32(0).u16(0).u64(0).u8(0).u32(0);
    assert!(Request::decode(asked::EXEC, &to.finish()).is_err());
}

#[test]
fn whatever_comes_is_read_or_refused() {
    let mut random = Random::new(11);
    for _ in 0..20_000 {
        let kind = random.byte() % 16;
        let payload = if random.below(2) == 0 {
            random.bytes(200)
        } else {
            let mut payload = process_payload();
            for _ in 0..1 + random.below(3) {
                let at = random.below(payload.len());
                payload[at] = random.byte();
            }
            payload
        };
        let _ = Request::decode(kind, &payload);
    }
}
