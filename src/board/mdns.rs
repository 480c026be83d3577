//! NAME.local (RFC 6762): the name is asked for, announced, answered for, and changed to NAME-2 when somebody has it. The
//! responder is pure; the loop around it has the sockets.

use super::dns_sd::{
    self, A, AAAA, MESSAGE_BYTES_MAX, Message, Record, answer, first_answered, fitting, parse, print_probe,
    print_response, room,
};
use super::ioctl::{Local, local_addresses};
use crate::net::MulticastDns;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// RFC 6762 8.1 and 8.3.
const PROBES: u8 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(250);
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(1);
/// RFC 6762 8.2: who loses asks again after a second.
const LOST_PAUSE: Duration = Duration::from_secs(1);
/// RFC 6762 8.1: after so many conflicts, none of them longer than this after the one before, so long before asking again.
const CONFLICTS_MAX: u32 = 15;
const CONFLICTS_WITHIN: Duration = Duration::from_secs(10);
const CONFLICT_PAUSE: Duration = Duration::from_secs(5);
/// A wanted name that another machine had is asked for again after so long without a conflict.
const WANTED_PAUSE: Duration = Duration::from_secs(3600);
/// RFC 6762 section 6: no record is said to all twice within a second, however it is asked for.
const SAME_PAUSE: Duration = Duration::from_secs(1);
/// How often addresses are looked at: a cable, another network.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Answers to single machines within a second; nobody in a home needs more.
const UNICASTS_MAX: u32 = 20;
const PORT: u16 = 5353;
/// Addresses of one interface that are told.
const ADDRESSES_MAX: usize = 8;
/// What a name of DNS has room for between two dots.
const LABEL_BYTES_MAX: usize = 63;
/// RFC 6762 section 17: no message is longer.
const DATAGRAM_BYTES_MAX: usize = 9000;

/// A message to send.
#[derive(Debug, PartialEq, Eq)]
enum Out {
    /// To all on this interface.
    All(u32, Vec<u8>),
    One(SocketAddr, Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Probing { sent: u8 },
    Announcing { sent: u8 },
    Serving,
}

struct Responder<'s> {
    wanted: &'s str,
    /// 1 is the wanted name itself.
    number: u32,
    services: &'s [(&'s str, u16)],
    locals: Vec<Local>,
    state: State,
    /// When there is something to do next, from the start.
    due: Option<Duration>,
    /// What was said to all within the last second, on which interface.
    said: Vec<(u32, Record, Duration)>,
    unicasts: (Duration, u32),
    /// When another had our name the last time, and how often in a row.
    conflicts: (Duration, u32),
    /// The number of the name that was told; 0: none yet.
    told: u32,
    /// Whether the addresses are others since.
    has_moved: bool,
}

impl<'s> Responder<'s> {
    fn new(wanted: &'s str, services: &'s [(&'s str, u16)]) -> Self {
        let state = State::Probing { sent: 0 };
        let (said, unicasts, conflicts) = (Vec::new(), (Duration::ZERO, 0), (Duration::ZERO, 0));
        Self {
            wanted,
            number: 1,
            services,
            locals: Vec::new(),
            state,
            due: None,
            said,
            unicasts,
            conflicts,
            told: 0,
            has_moved: false,
        }
    }

    fn label(&self) -> String {
        self.label_of(self.number)
    }

    fn label_of(&self, number: u32) -> String {
        if number == 1 {
            return self.wanted.to_owned();
        }
        let number = format!("-{number}");
        let room = LABEL_BYTES_MAX.saturating_sub(number.len());
        format!("{}{number}", self.wanted.get(..room).unwrap_or(self.wanted))
    }

    fn addresses(&self, interface: u32) -> Vec<IpAddr> {
        self.locals
            .iter()
            .filter(|local| local.interface == interface)
            .map(|local| local.address)
            .take(ADDRESSES_MAX)
            .collect()
    }

    fn interfaces(&self) -> Vec<u32> {
        let mut interfaces: Vec<u32> = self.locals.iter().map(|local| local.interface).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        interfaces
    }

    /// The machine's addresses; what was asked and announced on others counts for nothing.
    fn on_addresses(&mut self, now: Duration, locals: Vec<Local>) {
        if locals != self.locals {
            self.locals = locals;
            self.has_moved = true;
            self.probe(now);
        }
    }

    /// The name without `.local`, where there is something to tell: it is ours and was not told, or its addresses are others.
    fn news(&mut self) -> Option<String> {
        if self.state == State::Serving && self.told != self.number {
            self.told = self.number;
            log::info!("answering for name={}.local", self.label());
        } else if !self.has_moved || self.told == 0 {
            return None;
        }
        self.has_moved = false;
        Some(self.label_of(self.told))
    }

    fn probe(&mut self, at: Duration) {
        self.state = State::Probing { sent: 0 };
        self.due = (!self.locals.is_empty()).then_some(at);
    }

    /// What is due now.
    fn on_time(&mut self, now: Duration) -> Vec<Out> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let (out, state, pause): (Vec<Out>, _, _) = match self.state {
            State::Probing { sent: PROBES } => (Vec::new(), State::Announcing { sent: 0 }, Some(Duration::ZERO)),
            State::Probing { sent } => {
                let label = self.label();
                let ours = |interface| dns_sd::address_records(&label, &self.addresses(interface));
                let probe = |interface| Out::All(interface, print_probe(&label, &ours(interface)));
                let probes = self.interfaces().into_iter().map(probe).collect();
                (probes, State::Probing { sent: sent + 1 }, Some(PROBE_PAUSE))
            }
            State::Announcing { sent: ANNOUNCEMENTS } => {
                let again = self.conflicts.0.saturating_add(WANTED_PAUSE);
                (Vec::new(), State::Serving, (self.number > 1).then(|| again.saturating_sub(now)))
            }
            // Only with another name than the wanted one.
            State::Serving => {
                self.number = 1;
                (Vec::new(), State::Probing { sent: 0 }, Some(Duration::ZERO))
            }
            State::Announcing { sent } => {
                let interfaces = self.interfaces().into_iter();
                let all = |interface| self.say_to_all(now, interface, self.ours(interface), Vec::new());
                let said = interfaces.filter_map(all).collect();
                (said, State::Announcing { sent: sent + 1 }, Some(ANNOUNCE_PAUSE))
            }
        };
        self.state = state;
        self.due = pause.map(|pause| now + pause);
        out
    }

    /// What a datagram makes us say. From machines of our own networks alone (RFC 6762 section 11).
    fn on_message(&mut self, now: Duration, octets: &[u8], from: SocketAddr) -> Vec<Out> {
        let Some(interface) = self.locals.iter().find(|local| local.has(from)).map(|local| local.interface) else {
            return Vec::new();
        };
        let Some(mut message) = parse(octets) else {
            return Vec::new();
        };
        let is_from_us = self.locals.iter().any(|local| local.address == from.ip()) && from.port() == PORT;
        if !is_from_us {
            self.hear_others(now, interface, &message);
        }
        if message.is_response || matches!(self.state, State::Probing { .. }) {
            return Vec::new();
        }
        let ours = self.ours(interface);
        let legacy = (from.port() != PORT).then(|| first_answered(&ours, &message));
        if let Some(question) = &legacy {
            message.questions.retain(|one| Some(one) == question.as_ref());
            message.questions.truncate(1);
        }
        let (answers, mut additional) = answer(&ours, &message);
        if answers.is_empty() {
            return Vec::new();
        }
        let legacy = legacy.flatten();
        // Who probes must hear at once (RFC 6762 section 6).
        let is_for_one =
            legacy.is_some() || !message.authority.is_empty() || message.questions.iter().all(|one| one.is_unicast);
        if !is_for_one {
            return self.say_to_all(now, interface, answers, additional).into_iter().collect();
        }
        if legacy.is_some() {
            additional.clear();
        }
        let mut room = room(legacy.as_ref());
        let (answers, additional) = (fitting(answers, &mut room), fitting(additional, &mut room));
        let octets = print_response(&answers, &additional, legacy.as_ref().map(|question| (message.id, question)));
        self.may_unicast(now).then_some(Out::One(from, octets)).into_iter().collect()
    }

    /// What of this may be said to all now, and has not been within the last second.
    fn say_to_all(
        &mut self,
        now: Duration,
        interface: u32,
        answers: Vec<Record>,
        additional: Vec<Record>,
    ) -> Option<Out> {
        self.said.retain(|(_, _, at)| now.saturating_sub(*at) < SAME_PAUSE);
        let is_new = |record: &Record| !self.said.iter().any(|(on, said, _)| *on == interface && said == record);
        let mut room = room(None);
        let mut new = |records: Vec<Record>| fitting(records.into_iter().filter(is_new).collect(), &mut room);
        let (answers, additional) = (new(answers), new(additional));
        if answers.is_empty() {
            return None;
        }
        let octets = print_response(&answers, &additional, None);
        self.said.extend(answers.into_iter().chain(additional).map(|record| (interface, record, now)));
        Some(Out::All(interface, octets))
    }

    /// Everything that is said of us there.
    fn ours(&self, interface: u32) -> Vec<Record> {
        dns_sd::records(&self.label(), &self.addresses(interface), self.services)
    }

    /// Whether another one has our name (RFC 6762 section 9), or wants it at the same time (8.2).
    fn hear_others(&mut self, now: Duration, interface: u32, message: &Message) {
        let host = dns_sd::host(&self.label());
        let is_ours = |record: &Record| {
            let known = |local: &Local| match local.address {
                IpAddr::V4(ip) => record.data == ip.octets(),
                IpAddr::V6(ip) => record.data == ip.octets(),
            };
            self.locals.iter().any(known)
        };
        let of_name = |record: &&Record| record.name == host && [A, AAAA].contains(&record.kind);
        if message.is_response {
            if message.answers.iter().filter(of_name).any(|record| !is_ours(record)) {
                self.on_conflict(now);
            }
            return;
        }
        let mut theirs: Vec<(u16, &[u8])> =
            message.authority.iter().filter(of_name).map(|record| (record.kind, record.data.as_slice())).collect();
        if matches!(self.state, State::Probing { sent: 1.. }) && !theirs.is_empty() {
            let ours = dns_sd::address_records(&self.label(), &self.addresses(interface));
            let mut ours: Vec<(u16, &[u8])> = ours.iter().map(|record| (record.kind, record.data.as_slice())).collect();
            theirs.sort_unstable();
            ours.sort_unstable();
            if theirs > ours {
                self.probe(now + LOST_PAUSE);
            }
        }
    }

    /// Somebody says that our name is theirs.
    fn on_conflict(&mut self, now: Duration) {
        match self.state {
            // Not asked for yet: who has it will answer the question.
            State::Probing { sent: 0 } => return,
            State::Probing { .. } => self.number = self.number.saturating_add(1),
            // What is ours is asked for again (RFC 6762 section 9): whoever has it, too, answers that.
            State::Announcing { .. } | State::Serving => {}
        }
        let (last, count) = self.conflicts;
        let is_in_a_row = now.saturating_sub(last) < CONFLICTS_WITHIN;
        self.conflicts = (now, if is_in_a_row { count.saturating_add(1) } else { 1 });
        let pause = if self.conflicts.1 < CONFLICTS_MAX { Duration::ZERO } else { CONFLICT_PAUSE };
        self.probe(now + pause);
    }

    fn may_unicast(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.unicasts.0) >= Duration::from_secs(1) {
            self.unicasts = (now, 0);
        }
        self.unicasts.1 += 1;
        self.unicasts.1 <= UNICASTS_MAX
    }
}

/// Answers for `wanted`.local for ever; `services` are kinds (`_imaps`) with their ports. On `interface` alone, if one is named.
/// `taken` is told the name without `.local`, once it is ours, when it becomes another, and when the addresses change.
pub fn answer_for_name(
    wanted: &str,
    services: &[(&str, u16)],
    interface: Option<&str>,
    taken: &mut dyn FnMut(&str),
) -> io::Result<()> {
    let group = MulticastDns::open()?;
    let start = Instant::now();
    let mut responder = Responder::new(wanted, services);
    let mut looked: Option<Instant> = None;
    let mut octets = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        if looked.is_none_or(|at| at.elapsed() >= LOOK_PAUSE) {
            looked = Some(Instant::now());
            let locals = local_addresses(interface)?;
            locals.iter().for_each(|local| group.join(local.interface));
            responder.on_addresses(start.elapsed(), locals);
        }
        send(&group, responder.on_time(start.elapsed()));
        if let Some(name) = responder.news() {
            taken(&name);
        }
        let due = responder.due.map_or(LOOK_PAUSE, |due| due.saturating_sub(start.elapsed())).min(LOOK_PAUSE);
        match group.receive(&mut octets, due) {
            Ok(Some((length, from))) => {
                let datagram = octets.get(..length).unwrap_or_default();
                let out = responder.on_message(start.elapsed(), datagram, from);
                send(&group, out);
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A network that went away.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// What a network does not take is said again when it is asked for.
fn send(group: &MulticastDns, out: Vec<Out>) {
    for message in out {
        let sent = match message {
            Out::All(interface, octets) => group.send_to_all(octets.get(..).unwrap_or_default(), interface),
            Out::One(to, octets) => group.send(&octets, to),
        };
        if let Err(error) = sent {
            log::debug!("not sent: {error}");
        }
    }
}

const _: () = assert!(MESSAGE_BYTES_MAX < DATAGRAM_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::super::dns_sd::{ANY, PTR, address_records, name};
    use super::*;

    const SERVICES: [(&str, u16); 1] = [("_imaps", 993)];
    const QUERY: [u8; 12] = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];

    fn locals(address: &str) -> Vec<Local> {
        vec![Local { interface: 2, address: address.parse().unwrap(), prefix: 24 }]
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Lets time pass until it serves; what it has said.
    fn served(responder: &mut Responder<'_>, from: Duration) -> Vec<Out> {
        let mut now = from;
        let mut out = Vec::new();
        while responder.state != State::Serving {
            now += at(50);
            out.extend(responder.on_time(now));
            assert!(now < from + at(10_000));
        }
        out
    }

    fn question(labels: &[&str], kind: u16, class: u16) -> Vec<u8> {
        [&QUERY[..], &name(labels), &kind.to_be_bytes(), &class.to_be_bytes()].concat()
    }

    fn responder() -> Responder<'static> {
        let mut responder = Responder::new("pigeon", &SERVICES);
        responder.on_addresses(at(0), locals("192.0.2.10"));
        responder
    }

    #[test]
    fn a_name_is_asked_for_three_times_announced_twice_and_then_answered() {
        let mut responder = responder();
        let out = served(&mut responder, at(0));
        assert_eq!(out.len(), 5);
        assert!(out.iter().all(|one| matches!(one, Out::All(2, _))));
        let asked = question(&["pigeon", "local"], A, 1);
        let neighbour: SocketAddr = "192.0.2.77:5353".parse().unwrap();
        assert!(matches!(responder.on_message(at(9_000), &asked, neighbour)[..], [Out::All(2, _)]));
        assert_eq!(responder.on_message(at(9_500), &asked, neighbour), [], "said half a second ago");
        assert_eq!(responder.on_message(at(10_100), &asked, neighbour).len(), 1);
        // Who wants it alone, and who is no responder.
        let alone = question(&["pigeon", "local"], A, 0x8001);
        assert!(matches!(responder.on_message(at(11_000), &alone, neighbour)[..], [Out::One(..)]));
        let legacy: SocketAddr = "192.0.2.77:40000".parse().unwrap();
        assert!(matches!(responder.on_message(at(11_000), &asked, legacy)[..], [Out::One(to, _)] if to == legacy));
        let stranger: SocketAddr = "198.51.100.7:5353".parse().unwrap();
        assert_eq!(responder.on_message(at(12_000), &asked, stranger), [], "from another network");
    }

    #[test]
    fn a_name_that_somebody_has_becomes_the_next_one() {
        let mut responder = responder();
        let theirs = address_records("pigeon", &["192.0.2.77".parse().unwrap()]);
        let neighbour: SocketAddr = "192.0.2.77:5353".parse().unwrap();
        responder.on_time(at(10));
        responder.on_message(at(100), &print_response(&theirs, &[], None), neighbour);
        assert_eq!(responder.label(), "pigeon-2");
        let out = served(&mut responder, at(100));
        assert_eq!(out.len(), 5, "asked for and announced from the beginning");
        // Our own announcement, heard again over the network, is no conflict.
        let Out::All(_, echo) = &out[4] else { panic!("{out:?}") };
        responder.on_message(at(9_000), echo, "192.0.2.10:5353".parse().unwrap());
        assert_eq!((responder.label().as_str(), responder.state), ("pigeon-2", State::Serving));
    }

    #[test]
    fn of_two_who_ask_at_once_the_one_with_the_greater_address_gets_it() {
        let neighbour: SocketAddr = "192.0.2.77:5353".parse().unwrap();
        for (address, yields) in [("192.0.2.77", true), ("192.0.2.5", false)] {
            let mut responder = responder();
            responder.on_time(at(10));
            let theirs = print_probe("pigeon", &address_records("pigeon", &[address.parse().unwrap()]));
            responder.on_message(at(100), &theirs, neighbour);
            assert_eq!(responder.due == Some(at(1_100)), yields, "{address}");
            assert_eq!(responder.label(), "pigeon");
        }
    }

    #[test]
    fn the_name_is_defended_at_once_and_floods_are_not_answered() {
        let mut responder = responder();
        served(&mut responder, at(0));
        let neighbour: SocketAddr = "192.0.2.77:5353".parse().unwrap();
        let probe = print_probe("pigeon", &address_records("pigeon", &["192.0.2.77".parse().unwrap()]));
        let answered = (0..500).filter(|_| !responder.on_message(at(20_000), &probe, neighbour).is_empty()).count();
        assert_eq!(answered, UNICASTS_MAX as usize);
        assert_eq!(responder.label(), "pigeon");
    }

    #[test]
    fn no_record_is_said_to_all_twice_within_a_second_however_it_is_asked_for() {
        let mut responder = responder();
        served(&mut responder, at(0));
        let neighbour: SocketAddr = "192.0.2.77:5353".parse().unwrap();
        let mut said = Vec::new();
        for ms in 0..3_000 {
            // A question that does not concern us makes each message another one.
            let other = [&name(&[&format!("other-{ms}"), "local"])[..], &[0, 1, 0, 1]].concat();
            let kind = [A, ANY, PTR][ms % 3];
            let labels = [&["pigeon", "local"][..], &["_imaps", "_tcp", "local"]][ms % 2];
            let mut asked = [question(labels, kind, 1), other].concat();
            asked[5] = 2;
            for out in responder.on_message(at(20_000 + ms as u64), &asked, neighbour) {
                let Out::All(2, octets) = out else { panic!("{out:?}") };
                let message = parse(&octets).unwrap();
                said.extend(message.answers.into_iter().map(|record| (record, ms)));
            }
        }
        assert!(said.len() > 4 && said.len() <= 2 * 3, "{said:?}");
        for (index, (record, ms)) in said.iter().enumerate() {
            let again = said.iter().skip(index + 1).find(|(other, _)| other == record);
            assert!(again.is_none_or(|(_, later)| later - ms >= 1_000), "{record:?} at {ms} ms");
        }
    }

    #[test]
    fn one_who_is_no_responder_gets_an_answer_of_the_length_of_its_question() {
        let mut responder = responder();
        served(&mut responder, at(0));
        let legacy: SocketAddr = "192.0.2.77:40000".parse().unwrap();
        // All that one message has room for, of which the last is answered; and a question for everything.
        let mut many =
            [question(&["nobody", "local"], A, 1), question(&["_imaps", "_tcp", "local"], ANY, 1)[12..].repeat(60)]
                .concat();
        many[5] = 61;
        let all = question(&["_services", "_dns-sd", "_udp", "local"], ANY, 1);
        for asked in [many, all, question(&["pigeon", "_imaps", "_tcp", "local"], ANY, 1)] {
            let out = responder.on_message(at(20_000), &asked, legacy);
            let [Out::One(to, octets)] = &out[..] else { panic!("{out:?}") };
            let message = parse(octets).unwrap();
            assert_eq!((*to, message.questions.len()), (legacy, 1));
            assert!(octets.len() <= 8 * (asked.len().min(60)) && !message.answers.is_empty(), "{}", octets.len());
        }
    }

    #[test]
    fn a_name_that_was_ours_is_asked_for_again_before_it_is_given_up() {
        let mut responder = responder();
        served(&mut responder, at(0));
        let theirs = print_response(&address_records("pigeon", &["192.0.2.77".parse().unwrap()]), &[], None);
        let neighbour: SocketAddr = "192.0.2.77:5353".parse().unwrap();
        responder.on_message(at(20_000), &theirs, neighbour);
        assert_eq!((responder.label().as_str(), responder.state), ("pigeon", State::Probing { sent: 0 }));
        responder.on_message(at(20_001), &theirs, neighbour);
        assert_eq!(responder.label(), "pigeon", "the same conflict, told twice");
        assert_eq!(responder.on_time(at(20_010)).len(), 1);
        responder.on_message(at(20_020), &theirs, neighbour);
        assert_eq!(responder.label(), "pigeon-2", "the answer to our question");
    }

    #[test]
    fn after_fifteen_conflicts_it_asks_once_in_five_seconds() {
        let mut responder = responder();
        let neighbour: SocketAddr = "192.0.2.77:5353".parse().unwrap();
        let mut asked = Vec::new();
        for ms in (0..60_000).step_by(10) {
            if !responder.on_time(at(ms)).is_empty() {
                asked.push(ms);
            }
            let theirs = address_records(&responder.label(), &["192.0.2.77".parse().unwrap()]);
            responder.on_message(at(ms), &print_response(&theirs, &[], None), neighbour);
        }
        assert!(asked.len() > 20 && asked.len() <= 15 + 12, "{asked:?}");
        assert!(asked[14..].windows(2).all(|pair| pair[1] - pair[0] >= 5_000), "{asked:?}");
    }

    #[test]
    fn after_an_hour_of_quiet_the_wanted_name_is_asked_for_again() {
        let neighbour: SocketAddr = "192.0.2.77:5353".parse().unwrap();
        let theirs = print_response(&address_records("pigeon", &["192.0.2.77".parse().unwrap()]), &[], None);
        for is_there in [true, false] {
            let mut responder = responder();
            responder.on_time(at(10));
            responder.on_message(at(100), &theirs, neighbour);
            served(&mut responder, at(100));
            assert_eq!(responder.on_time(at(3_600_099)), []);
            assert_eq!((responder.label().as_str(), responder.state), ("pigeon-2", State::Serving));
            responder.on_time(at(3_600_100));
            assert_eq!((responder.label().as_str(), responder.state), ("pigeon", State::Probing { sent: 0 }));
            assert_eq!(responder.on_time(at(3_600_110)).len(), 1);
            if is_there {
                responder.on_message(at(3_600_200), &theirs, neighbour);
            }
            assert_eq!(served(&mut responder, at(3_600_200)).len(), if is_there { 5 } else { 4 });
            assert_eq!(responder.label(), if is_there { "pigeon-2" } else { "pigeon" });
            // An hour after that, and never where it is the wanted one.
            assert_eq!(responder.due, is_there.then(|| at(7_200_200)));
        }
    }

    #[test]
    fn the_name_is_told_once_and_again_when_the_addresses_change_or_go() {
        let mut responder = responder();
        assert_eq!(responder.news(), None, "asked for and not ours yet");
        served(&mut responder, at(0));
        assert_eq!((responder.news().as_deref(), responder.news()), (Some("pigeon"), None));
        responder.on_addresses(at(20_000), locals("192.0.2.10"));
        assert_eq!(responder.news(), None, "the same");
        let more = [locals("192.0.2.10"), locals("2001:db8::10")].concat();
        responder.on_addresses(at(25_000), more);
        assert_eq!((responder.news().as_deref(), responder.news()), (Some("pigeon"), None));
        served(&mut responder, at(25_000));
        assert_eq!(responder.news(), None, "it is the name that was told");
        responder.on_addresses(at(40_000), Vec::new());
        assert_eq!((responder.news().as_deref(), responder.news()), (Some("pigeon"), None));
    }

    #[test]
    fn the_number_has_room_in_the_longest_name() {
        let wanted = "p".repeat(LABEL_BYTES_MAX);
        let mut responder = Responder::new(&wanted, &SERVICES);
        for (number, end) in [(1, "pp"), (2, "p-2"), (1_000, "p-1000")] {
            responder.number = number;
            assert!(responder.label().ends_with(end) && responder.label().len() == LABEL_BYTES_MAX);
        }
    }

    #[test]
    fn another_network_is_asked_anew_and_none_is_no_trouble() {
        let mut responder = responder();
        served(&mut responder, at(0));
        responder.on_addresses(at(20_000), Vec::new());
        assert_eq!((responder.due, responder.on_time(at(30_000))), (None, vec![]));
        responder.on_addresses(at(40_000), locals("198.51.100.4"));
        assert_eq!(served(&mut responder, at(40_000)).len(), 5);
        let asked = question(&["_imaps", "_tcp", "local"], ANY, 1);
        assert_eq!(responder.on_message(at(60_000), &asked, "198.51.100.9:5353".parse().unwrap()).len(), 1);
    }
}
