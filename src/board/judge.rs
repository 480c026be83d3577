//! Whether the clock is set to what time servers say (RFC 5905 sections 11.2 and 14, in little): one server's word is enough for
//! a clock that is nearly right, two must agree before it is set to another time. Pure.

use std::net::SocketAddr;

/// A clock that is further off is set, at once; another is only sped up or slowed down. Nanoseconds.
const NEAR_NS: u128 = 500_000_000;
/// Two servers agree that are so near to each other, nanoseconds: the way to each may be slow.
const AGREE_NS: u128 = 3_000_000_000;
/// So often in a row only one of several servers must have answered before its word is taken alone.
const ALONE_ROUNDS: u32 = 3;
/// No server alone moves a clock further that was right once, nanoseconds (RFC 5905: PANICT, 1000 s).
const ALONE_MAX_NS: u128 = 1_000_000_000_000;

/// What one server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opinion {
    pub(super) server: SocketAddr,
    /// How far our clock is behind that server's.
    pub(super) offset_ns: i128,
}

/// What to do after a round of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Speed the clock up or slow it down by so many nanoseconds.
    Slew(i128),
    /// Set it, so many nanoseconds on.
    Set(i128),
    /// Ask again: nobody answered.
    Silence,
    /// Ask again: one server says that the clock is far off, and no other says anything.
    Alone,
    /// Ask again: no two of those who answered agree.
    AtOdds,
}

/// Judges one round after another.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Whether the clock was right once.
    was_right: bool,
    /// Rounds in a row that one server alone has answered.
    alone: u32,
}

impl Judge {
    /// `candidates` is how many servers there were to ask.
    pub(super) fn judge(&mut self, opinions: &[Opinion], candidates: usize) -> Verdict {
        let near = opinions.iter().find(|opinion| is_near(opinion.offset_ns));
        let verdict = match (opinions, agreed(opinions), near) {
            ([], ..) => Verdict::Silence,
            (_, Some(offset_ns), _) => of(offset_ns),
            // Our own clock is the second opinion, if it was right once; else this one alone changes little.
            (_, None, Some(near)) if self.was_right || opinions.len() == 1 => Verdict::Slew(near.offset_ns),
            ([one], ..) => {
                self.alone = self.alone.saturating_add(1);
                let is_heard = candidates == 1 || self.alone >= ALONE_ROUNDS;
                let is_believed = !self.was_right || one.offset_ns.unsigned_abs() <= ALONE_MAX_NS;
                if is_heard && is_believed { Verdict::Set(one.offset_ns) } else { Verdict::Alone }
            }
            _ => Verdict::AtOdds,
        };
        self.was_right |= matches!(verdict, Verdict::Slew(_) | Verdict::Set(_));
        if verdict != Verdict::Alone {
            self.alone = 0;
        }
        verdict
    }
}

/// Whether nobody else need be asked in this round.
pub(super) fn is_enough(opinions: &[Opinion]) -> bool {
    matches!(opinions, [one] if is_near(one.offset_ns)) || agreed(opinions).is_some()
}

fn is_near(offset_ns: i128) -> bool {
    offset_ns.unsigned_abs() <= NEAR_NS
}

fn of(offset_ns: i128) -> Verdict {
    if is_near(offset_ns) { Verdict::Slew(offset_ns) } else { Verdict::Set(offset_ns) }
}

/// What the first two servers say that agree.
fn agreed(opinions: &[Opinion]) -> Option<i128> {
    let pairs =
        opinions.iter().enumerate().flat_map(|(index, one)| opinions.iter().skip(index + 1).map(move |two| (one, two)));
    let mut agreeing =
        pairs.filter(|(one, two)| one.server != two.server && one.offset_ns.abs_diff(two.offset_ns) <= AGREE_NS);
    agreeing.next().map(|(one, two)| one.offset_ns.midpoint(two.offset_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i128 = 1_000_000_000;
    const YEAR: i128 = 31_557_600 * S;

    fn opinions(offsets: &[i128]) -> Vec<Opinion> {
        let opinion = |(port, offset_ns): (u16, &i128)| Opinion {
            server: SocketAddr::from(([192, 0, 2, 1], port)),
            offset_ns: *offset_ns,
        };
        (1..).zip(offsets).map(opinion).collect()
    }

    #[test]
    fn one_servers_word_alone_sets_no_clock_where_others_can_be_asked() {
        for (offsets, verdict, why) in [
            (&[][..], Verdict::Silence, "nobody"),
            (&[S / 5], Verdict::Slew(S / 5), "nearly right: nothing to fear"),
            (&[30 * YEAR], Verdict::Alone, "one, far off"),
            (&[-3 * S], Verdict::Alone, "one, some seconds off"),
            (&[30 * YEAR, 2 * S], Verdict::AtOdds, "two who say different things"),
            (&[30 * YEAR, S / 5], Verdict::AtOdds, "of which one says what a clock says that nobody has set"),
            (&[2 * YEAR, 2 * YEAR + 2 * S], Verdict::Set(2 * YEAR + S), "two who agree"),
            (&[30 * YEAR, 2 * YEAR, 2 * YEAR], Verdict::Set(2 * YEAR), "two of three"),
            (&[30 * YEAR, 0, 0], Verdict::Slew(0), "two of three for our own clock"),
            (&[2 * YEAR, 2 * YEAR + 4 * S], Verdict::AtOdds, "further from each other than any way is long"),
        ] {
            assert_eq!(Judge::default().judge(&opinions(offsets), 4), verdict, "{why}");
        }
        let mut same = opinions(&[YEAR, YEAR]);
        same[1].server = same[0].server;
        assert_eq!(Judge::default().judge(&same, 4), Verdict::AtOdds, "one server under two names");
    }

    #[test]
    fn a_clock_that_was_right_once_is_an_opinion_itself() {
        let mut judge = Judge { was_right: true, alone: 0 };
        assert_eq!(judge.judge(&opinions(&[30 * YEAR, S / 5]), 4), Verdict::Slew(S / 5));
        assert_eq!(judge.judge(&opinions(&[30 * YEAR, YEAR]), 4), Verdict::AtOdds);
    }

    #[test]
    fn where_only_one_answers_it_is_believed_after_a_while_or_at_once_if_it_is_the_only_one() {
        let far = opinions(&[2 * YEAR]);
        let mut judge = Judge::default();
        let verdicts: Vec<Verdict> = (0..3).map(|_| judge.judge(&far, 4)).collect();
        assert_eq!(verdicts, [Verdict::Alone, Verdict::Alone, Verdict::Set(2 * YEAR)]);
        assert_eq!(Judge::default().judge(&far, 1), Verdict::Set(2 * YEAR), "no other is configured");
        // A clock that was right is moved by at most 1000 s by one alone, however often it says so.
        for (offset, is_moved) in [(2 * YEAR, false), (-1_001 * S, false), (1_000 * S, true)] {
            let said = opinions(&[offset]);
            let verdicts: Vec<Verdict> = (0..5).map(|_| judge.judge(&said, 1)).collect();
            assert_eq!(verdicts.contains(&Verdict::Set(offset)), is_moved, "{offset}");
        }
        let mut judge = Judge::default();
        judge.judge(&far, 4);
        judge.judge(&far, 4);
        assert_eq!(judge.judge(&opinions(&[2 * YEAR, 0]), 4), Verdict::AtOdds);
        assert_eq!(judge.judge(&far, 4), Verdict::Alone, "counted anew");
    }

    #[test]
    fn others_are_asked_only_where_it_matters() {
        for (offsets, enough) in
            [(&[][..], false), (&[S / 5], true), (&[2 * S], false), (&[2 * S, S], true), (&[9 * S, S], false)]
        {
            assert_eq!(is_enough(&opinions(offsets)), enough, "{offsets:?}");
        }
    }
}
