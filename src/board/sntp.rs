//! The question to a time server and its answer (RFC 5905 sections 7.3 and 14, and of what RFC 9769 asks: the question says
//! nothing of our clock). Pure.

use std::time::Duration;

/// A question or an answer without extensions, octets.
pub(super) const PACKET_BYTES: usize = 48;
/// From the epoch of NTP (1900) to that of Unix (1970).
const EPOCHS_S: i64 = 2_208_988_800;
/// Seconds until NTP's count begins anew, in 2036 for the first time.
const ERA_S: i64 = 1 << 32;
/// No clock that is right says less: 2025.
const EARLIEST_S: i64 = 1_735_689_600;
/// An answer that took longer says too little.
const DELAY_MAX_NS: i128 = 2_000_000_000;

/// A client's question of version 4; the server gives `nonce` back.
pub(super) fn question(nonce: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    for (place, octet) in packet.iter_mut().zip([0x23]) {
        *place = octet;
    }
    for (place, octet) in packet.iter_mut().skip(40).zip(nonce.to_be_bytes()) {
        *place = octet;
    }
    packet
}

/// Why an answer is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no answer to the question.
    NotOurs,
    /// The server asks us to stay away (a kiss of death, section 7.4).
    StayAway,
    /// The server's own clock is not right.
    NotSynchronised,
    /// It took too long on the way.
    TooSlow,
}

/// How far our clock is behind the server's, nanoseconds. `sent` and `received` are our clock's readings, since 1970.
pub(super) fn offset_ns(answer: &[u8], nonce: u64, sent: Duration, received: Duration) -> Result<i128, Refusal> {
    let first = |at: usize| answer.get(at).copied().unwrap_or(0);
    let mode = first(0) & 7;
    if answer.len() < PACKET_BYTES || mode != 4 || answer.get(24..32).is_none_or(|echo| echo != nonce.to_be_bytes()) {
        return Err(Refusal::NotOurs);
    }
    match first(1) {
        0 => return Err(Refusal::StayAway),
        1..=15 if first(0) >> 6 != 3 => {}
        _ => return Err(Refusal::NotSynchronised),
    }
    let (arrived, left) = (timestamp(answer, 32), timestamp(answer, 40));
    let (Some(arrived), Some(left)) = (arrived, left) else {
        return Err(Refusal::NotSynchronised);
    };
    let [sent, received] = [sent, received].map(|time| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / 4));
    if !(0..=DELAY_MAX_NS).contains(&(received - sent)) || left < arrived {
        return Err(Refusal::TooSlow);
    }
    Ok(((arrived - sent) + (left - received)) / 2)
}

/// Seconds and their fraction, as nanoseconds since 1970; `None` for none, and for years that are over.
fn timestamp(packet: &[u8], at: usize) -> Option<i128> {
    let number = |at: usize| packet.get(at..)?.first_chunk().map(|octets| u32::from_be_bytes(*octets));
    let (seconds, fraction) = (number(at)?, number(at + 4)?);
    let mut seconds = i64::from(seconds) - EPOCHS_S;
    if seconds < EARLIEST_S {
        seconds += ERA_S;
    }
    let is_none = seconds == ERA_S - EPOCHS_S && fraction == 0;
    let ns = (i128::from(fraction) * 1_000_000_000) >> 32;
    (!is_none).then_some(i128::from(seconds) * 1_000_000_000 + ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(arrived_s: u64, left_s: u64) -> [u8; PACKET_BYTES] {
        let mut packet = question(0);
        packet[0] = 0x24;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&7_u64.to_be_bytes());
        for (at, seconds) in [(32, arrived_s), (40, left_s)] {
            packet[at..at + 4].copy_from_slice(&((seconds + 2_208_988_800) as u32).to_be_bytes());
        }
        packet[36] = 0x80; // half a second
        packet[44] = 0x80;
        packet
    }

    #[test]
    fn the_offset_is_what_the_standard_computes() {
        let at = |ms: u64| Duration::from_millis(ms);
        let now = 1_800_000_000;
        // Sent at 0 s by our clock, 100 ms on the way in each direction, the server ahead by half a second and 100 ms less.
        let offset = offset_ns(&answer(now, now), 7, at(now * 1_000), at(now * 1_000 + 200)).unwrap();
        assert_eq!(offset, 400_000_000);
        // A board without a clock of its own starts in 1970.
        let offset = offset_ns(&answer(now, now), 7, at(1_000), at(1_010)).unwrap();
        assert_eq!(offset / 1_000_000_000, 1_799_999_999);
        // After February 2036 the count begins anew.
        let later = 2_100_000_000;
        assert_eq!(offset_ns(&answer(later, later), 7, at(later * 1_000), at(later * 1_000)).unwrap(), 500_000_000);
    }

    #[test]
    fn answers_that_say_nothing_are_refused() {
        let good = answer(1_800_000_000, 1_800_000_000);
        let with = |at: usize, octet: u8| {
            let mut packet = good;
            packet[at] = octet;
            packet.to_vec()
        };
        let rows = [
            (with(0, 0x23), Refusal::NotOurs, "a question"),
            (with(31, 8), Refusal::NotOurs, "another nonce"),
            (good[..47].to_vec(), Refusal::NotOurs, "cut"),
            (Vec::new(), Refusal::NotOurs, "empty"),
            (with(1, 0), Refusal::StayAway, "stratum 0"),
            (with(1, 16), Refusal::NotSynchronised, "stratum 16"),
            (with(0, 0xe4), Refusal::NotSynchronised, "alarm"),
            ([&good[..40], &[0; 8]].concat(), Refusal::NotSynchronised, "no time"),
            (answer(1_800_000_001, 1_800_000_000).to_vec(), Refusal::TooSlow, "left before it arrived"),
        ];
        let at = Duration::from_secs(1_800_000_000);
        for (packet, refusal, why) in rows {
            assert_eq!(offset_ns(&packet, 7, at, at), Err(refusal), "{why}");
        }
        assert_eq!(offset_ns(&good, 7, at, at + Duration::from_secs(3)), Err(Refusal::TooSlow));
        assert_eq!(
            offset_ns(&good, 7, at, at - Duration::from_secs(3)),
            Err(Refusal::TooSlow),
            "our clock was set back"
        );
    }
}
