//! The messages of multicast DNS (RFC 6762) and what a board says of itself in them (RFC 6763): its name's addresses, and the
//! services that mail programs look for. Pure; names are kept uncompressed, in small letters, as on the wire.

use std::net::IpAddr;

pub(super) const A: u16 = 1;
pub(super) const PTR: u16 = 12;
const TXT: u16 = 16;
pub(super) const AAAA: u16 = 28;
const SRV: u16 = 33;
pub(super) const ANY: u16 = 255;
const IN: u16 = 1;
/// In a record's class: it replaces what was known (RFC 6762 10.2); in a question's: answer me alone (5.4).
const TOP_BIT: u16 = 0x8000;
/// RFC 6762 section 10: names of machines, and everything else.
const HOST_TTL_S: u32 = 120;
const OTHER_TTL_S: u32 = 4500;
/// RFC 6762 6.7: for those who do not listen to what changes.
const LEGACY_TTL_S: u32 = 10;
/// What fits every network; a message of ours stays below it, also where the standard would let it be longer (RFC 6762 17).
pub(super) const MESSAGE_BYTES_MAX: usize = 1400;
/// An answer to one who is no responder is at most so many times as long as its question: its address may be forged.
const LEGACY_TIMES_MAX: usize = 8;
const HEADER_BYTES: usize = 12;
/// Questions or records of one message that are looked at.
const ENTRIES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 255;
const POINTERS_MAX: usize = 16;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// Type before data: the order that decides between two who want one name (RFC 6762 8.2).
    pub(super) kind: u16,
    pub(super) data: Vec<u8>,
    pub(super) name: Vec<u8>,
    /// Whether nobody else may have one of this name and type.
    is_unique: bool,
    ttl_s: u32,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: Vec<u8>,
    pub(super) kind: u16,
    /// Whether the one who asks wants the answer alone.
    pub(super) is_unicast: bool,
}

impl Question {
    fn asks_for(&self, record: &Record) -> bool {
        self.name == record.name && (self.kind == record.kind || self.kind == ANY)
    }

    fn bytes(&self) -> usize {
        self.name.len() + 4
    }
}

/// A message, as far as it is understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u16,
    pub(super) is_response: bool,
    pub(super) questions: Vec<Question>,
    pub(super) answers: Vec<Record>,
    /// What one who asks for a name is going to say of it.
    pub(super) authority: Vec<Record>,
}

/// A name of these labels.
pub(super) fn name(labels: &[&str]) -> Vec<u8> {
    let mut name = Vec::new();
    for label in labels {
        let label = label.as_bytes();
        let label = label.get(..63).unwrap_or(label);
        name.push(u8::try_from(label.len()).unwrap_or(0));
        name.extend(label.to_ascii_lowercase());
    }
    name.push(0);
    name
}

/// `NAME.local`
pub(super) fn host(label: &str) -> Vec<u8> {
    name(&[label, "local"])
}

/// Everything that a board of this name says of itself; `services` are kinds (`_imaps`) with their ports.
pub(super) fn records(label: &str, addresses: &[IpAddr], services: &[(&str, u16)]) -> Vec<Record> {
    let mut records = address_records(label, addresses);
    let other = |name, kind, data, is_unique| Record { kind, data, name, is_unique, ttl_s: OTHER_TTL_S };
    let all = name(&["_services", "_dns-sd", "_udp", "local"]);
    for &(service, port) in services {
        let kind = name(&[service, "_tcp", "local"]);
        let instance = name(&[label, service, "_tcp", "local"]);
        let mut place = vec![0; 4];
        place.extend(port.to_be_bytes());
        place.extend(host(label));
        records.push(other(all.clone(), PTR, kind.clone(), false));
        records.push(other(kind, PTR, instance.clone(), false));
        records.push(Record { ttl_s: HOST_TTL_S, ..other(instance.clone(), SRV, place, true) });
        records.push(other(instance, TXT, vec![0], true));
    }
    records
}

/// The addresses of a name alone.
pub(super) fn address_records(label: &str, addresses: &[IpAddr]) -> Vec<Record> {
    let record = |address: &IpAddr| {
        let (kind, data) = match address {
            IpAddr::V4(ip) => (A, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
        };
        Record { kind, data, name: host(label), is_unique: true, ttl_s: HOST_TTL_S }
    };
    addresses.iter().map(record).collect()
}

/// What answers this question, and what the one who asks will want to know next.
pub(super) fn answer(ours: &[Record], message: &Message) -> (Vec<Record>, Vec<Record>) {
    let is_asked = |record: &&Record| {
        // RFC 6762 7.1: who knows it already need not be told.
        let is_known = message
            .answers
            .iter()
            .any(|known| known.name == record.name && known.data == record.data && known.ttl_s >= record.ttl_s / 2);
        message.questions.iter().any(|question| question.asks_for(record)) && !is_known
    };
    let answers: Vec<Record> = ours.iter().filter(is_asked).cloned().collect();
    let leads_on = answers.iter().any(|record| record.kind == PTR || record.kind == SRV);
    let further = |record: &&Record| leads_on && record.kind != PTR && !answers.contains(record);
    let additional = ours.iter().filter(further).cloned().collect();
    (answers, additional)
}

/// The first of a message's questions that these records answer.
pub(super) fn first_answered(ours: &[Record], message: &Message) -> Option<Question> {
    message.questions.iter().find(|question| ours.iter().any(|record| question.asks_for(record))).cloned()
}

/// The octets that a response has room for beside its head; `legacy` is the question of one who is no responder.
pub(super) fn room(legacy: Option<&Question>) -> usize {
    let head = HEADER_BYTES + legacy.map_or(0, Question::bytes);
    legacy.map_or(MESSAGE_BYTES_MAX, |_| MESSAGE_BYTES_MAX.min(LEGACY_TIMES_MAX * head)).saturating_sub(head)
}

/// The first of these records, as many as there is room for; the room they take is gone.
pub(super) fn fitting(records: Vec<Record>, room: &mut usize) -> Vec<Record> {
    let mut fits = |record: &Record| {
        let left = room.checked_sub(record.name.len() + 10 + record.data.len());
        *room = left.unwrap_or(0);
        left.is_some()
    };
    records.into_iter().take_while(|record| fits(record)).collect()
}

/// A response to all (RFC 6762 section 6), or to one who is no responder itself (6.7): then with its id and question.
pub(super) fn print_response(answers: &[Record], additional: &[Record], legacy: Option<(u16, &Question)>) -> Vec<u8> {
    let (id, questions) = legacy.map_or((0, 0), |(id, _)| (id, 1));
    let mut octets = header(id, 0x8400, [questions, answers.len(), 0, additional.len()]);
    if let Some((_, question)) = legacy {
        octets.extend(&question.name);
        octets.extend(question.kind.to_be_bytes());
        octets.extend(IN.to_be_bytes());
    }
    answers.iter().chain(additional).for_each(|record| print_record(&mut octets, record, legacy.is_some()));
    octets
}

/// Asks whether anybody has this name (RFC 6762 8.1), and says what we would have it mean.
pub(super) fn print_probe(label: &str, ours: &[Record]) -> Vec<u8> {
    let mut octets = header(0, 0, [1, 0, ours.len(), 0]);
    octets.extend(host(label));
    octets.extend(ANY.to_be_bytes());
    octets.extend((IN | TOP_BIT).to_be_bytes());
    // Without the bit that empties caches: nothing is ours yet.
    ours.iter().for_each(|record| print_record(&mut octets, &Record { is_unique: false, ..record.clone() }, false));
    octets
}

/// `counts` are questions, answers, authority and additional records.
fn header(id: u16, flags: u16, counts: [usize; 4]) -> Vec<u8> {
    let counts = counts.map(|count| u16::try_from(count).unwrap_or(0));
    [id, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

fn print_record(octets: &mut Vec<u8>, record: &Record, is_legacy: bool) {
    let class = if record.is_unique && !is_legacy { IN | TOP_BIT } else { IN };
    let ttl_s = if is_legacy { record.ttl_s.min(LEGACY_TTL_S) } else { record.ttl_s };
    octets.extend(&record.name);
    octets.extend(record.kind.to_be_bytes());
    octets.extend(class.to_be_bytes());
    octets.extend(ttl_s.to_be_bytes());
    octets.extend(u16::try_from(record.data.len()).unwrap_or(0).to_be_bytes());
    octets.extend(&record.data);
}

/// Reads a message; `None` for what is none.
pub(super) fn parse(octets: &[u8]) -> Option<Message> {
    let mut reader = Reader { octets, at: 0 };
    let (id, flags) = (reader.u16()?, reader.u16()?);
    // RFC 6762 18.3 and 18.11: other operations and errors are passed over.
    if flags & 0x780f != 0 {
        return None;
    }
    let [questions, answers, authority, _] =
        [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?].map(usize::from);
    let mut message = Message { id, is_response: flags & 0x8000 != 0, ..Message::default() };
    for _ in 0..questions.min(ENTRIES_MAX) {
        let (name, kind, class) = (reader.name()?, reader.u16()?, reader.u16()?);
        if [IN, 255].contains(&(class & !TOP_BIT)) {
            message.questions.push(Question { name, kind, is_unicast: class & TOP_BIT != 0 });
        }
    }
    if questions <= ENTRIES_MAX {
        for index in 0..(answers + authority).min(ENTRIES_MAX) {
            // What was understood before a record that is not is worth something.
            let Some(record) = reader.record() else { break };
            if index < answers { message.answers.push(record) } else { message.authority.push(record) }
        }
    }
    Some(message)
}

struct Reader<'o> {
    octets: &'o [u8],
    at: usize,
}

impl Reader<'_> {
    fn u16(&mut self) -> Option<u16> {
        let octets = self.octets.get(self.at..)?.first_chunk()?;
        self.at += 2;
        Some(u16::from_be_bytes(*octets))
    }

    fn record(&mut self) -> Option<Record> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        let ttl_s = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        let length = usize::from(self.u16()?);
        let (start, end) = (self.at, self.at + length);
        let data = if kind == PTR {
            // It may point back to names before it.
            self.name()?
        } else {
            self.octets.get(start..end)?.to_vec()
        };
        self.at = end;
        self.octets.get(..end)?;
        Some(Record { kind, data, name, is_unique: class & TOP_BIT != 0, ttl_s })
    }

    /// RFC 1035 4.1.4; a pointer leads backwards only, so that none leads round in a circle.
    fn name(&mut self) -> Option<Vec<u8>> {
        let (mut name, mut at, mut end) = (Vec::new(), self.at, None);
        for _ in 0..POINTERS_MAX {
            let from = at;
            loop {
                let length = usize::from(*self.octets.get(at)?);
                match length {
                    0 => {
                        name.push(0);
                        self.at = end.unwrap_or(at + 1);
                        return Some(name);
                    }
                    1..=63 => {
                        let label = self.octets.get(at..=at + length)?;
                        name.extend(label.to_ascii_lowercase());
                        at += 1 + length;
                        if name.len() >= NAME_BYTES_MAX {
                            return None;
                        }
                    }
                    192.. => {
                        let low = usize::from(*self.octets.get(at + 1)?);
                        end.get_or_insert(at + 2);
                        at = (length & 63) << 8 | low;
                        break;
                    }
                    _ => return None,
                }
            }
            if at >= from {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVICES: [(&str, u16); 2] = [("_imaps", 993), ("_submissions", 465)];

    fn ours() -> Vec<Record> {
        records("Pigeon", &["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()], &SERVICES)
    }

    fn ask(labels: &[&str], kind: u16) -> Message {
        let question = Question { name: name(labels), kind, is_unicast: false };
        Message { questions: vec![question], ..Message::default() }
    }

    #[test]
    fn names_and_services_are_answered_and_nothing_else() {
        let rows: [(&[&str], u16, usize, usize); 8] = [
            (&["PIGEON", "local"], A, 1, 0),
            (&["pigeon", "local"], AAAA, 1, 0),
            (&["pigeon", "local"], ANY, 2, 0),
            (&["_imaps", "_tcp", "local"], PTR, 1, 6),
            (&["pigeon", "_imaps", "_tcp", "local"], SRV, 1, 5),
            (&["_services", "_dns-sd", "_udp", "local"], PTR, 2, 6),
            (&["pigeon", "example"], A, 0, 0),
            (&["pigeon", "local"], 15, 0, 0),
        ];
        for (labels, kind, answers, additional) in rows {
            let (got, further) = answer(&ours(), &ask(labels, kind));
            assert_eq!((got.len(), further.len()), (answers, additional), "{labels:?} {kind}");
        }
    }

    #[test]
    fn who_knows_the_answer_is_not_told() {
        let mut message = ask(&["_imaps", "_tcp", "local"], PTR);
        let known = answer(&ours(), &message).0;
        message.answers.clone_from(&known);
        assert!(answer(&ours(), &message).0.is_empty());
        message.answers[0].ttl_s = 100;
        assert_eq!(answer(&ours(), &message).0, known, "about to forget it");
    }

    #[test]
    fn what_is_printed_is_read() {
        let (answers, additional) = answer(&ours(), &ask(&["_imaps", "_tcp", "local"], PTR));
        let mut left = room(None);
        let (answers, additional) = (fitting(answers, &mut left), fitting(additional, &mut left));
        let octets = print_response(&answers, &additional, None);
        assert_eq!((answers.len(), additional.len()), (1, 6), "all of it fits");
        assert_eq!(octets.len() + left, MESSAGE_BYTES_MAX, "the room is counted as it is printed");
        let message = parse(&octets).unwrap();
        assert!(message.is_response && message.questions.is_empty());
        assert_eq!(message.answers, answers);
        let probe = parse(&print_probe("pigeon", &ours()[..2])).unwrap();
        assert!(probe.questions[0].is_unicast && probe.authority.len() == 2);
        assert_eq!(probe.authority[0].data, [192, 0, 2, 10]);
    }

    #[test]
    fn one_who_is_no_responder_gets_its_question_back_and_short_times() {
        let asked = Message { id: 77, ..ask(&["pigeon", "local"], A) };
        let (answers, _) = answer(&ours(), &asked);
        let message = parse(&print_response(&answers, &[], Some((77, &asked.questions[0])))).unwrap();
        assert_eq!((message.id, &message.questions), (77, &asked.questions));
        assert!(message.answers[0].ttl_s == LEGACY_TTL_S && !message.answers[0].is_unique);
    }

    #[test]
    fn an_answer_is_never_longer_than_what_fits() {
        let long = ["2001:db8::1".parse().unwrap(); 200];
        let records = records(&"p".repeat(63), &long, &SERVICES);
        let question = Question { name: host(&"p".repeat(63)), kind: ANY, is_unicast: false };
        for (legacy, limit) in
            [(None, MESSAGE_BYTES_MAX), (Some(&question), LEGACY_TIMES_MAX * (12 + question.bytes()))]
        {
            let some = fitting(records.clone(), &mut room(legacy));
            let octets = print_response(&some, &[], legacy.map(|question| (1, question)));
            assert!(some.len() > 3 && some.len() < 20 && octets.len() <= limit, "{} {}", some.len(), octets.len());
        }
    }

    #[test]
    fn names_with_pointers_are_read_and_circles_refused() {
        let head = header(0, 0, [1, 0, 0, 0]);
        let question = |name: &[u8]| [&head[..], name, &[0, 1, 0, 1]].concat();
        assert_eq!(parse(&question(b"\x06pigeon\x05local\0")).unwrap().questions[0].name, host("pigeon"));
        // Of a second question, to the first one's `local`.
        let two = [
            &header(0, 0, [2, 0, 0, 0])[..],
            b"\x06pigeon\x05local\0",
            &[0, 1, 0, 1],
            b"\x03BOX\xc0\x13",
            &[0, 1, 0, 1],
        ]
        .concat();
        assert_eq!(parse(&two).unwrap().questions[1].name, host("box"));
        for bad in [&b"\xc0\x0c"[..], b"\x01a\xc0\x0c", b"\xc0\x20", b"\x40a", b"\x3fa"] {
            assert_eq!(parse(&question(bad)), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_odd(octets in proptest::collection::vec(any::<u8>(), 0..200), zero in any::<bool>()) {
            let mut octets = octets;
            if zero && octets.len() > 4 {
                octets[2] = 0;
                octets[3] = 0;
            }
            if let Some(message) = parse(&octets) {
                answer(&ours(), &message);
            }
        }
    }
}
