//! SEARCH as a plan (RFC 3501 6.4.4, RFC 7162 3.1.5): keys made ready for one mailbox, then decided for each message with
//! as little knowledge as possible. Pure: what is known comes in, yes, no or "not yet" goes out.

use super::grammar::{Day, SearchField, SearchKey, SequenceSet, When};
use crate::mail::{Envelope, EnvelopeAddress, Matcher, TextEvent, day, decode_key, decode_words, parse_message_date};
use crate::store::{Entry, Flags, Message, ModSeq, UidSet};

/// Why keys make no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The charset is none we know.
    Charset,
    /// A text is not valid in its charset.
    Text,
    /// A message number is none.
    Number,
}

/// What keys need to know of the mailbox.
pub(super) struct Surroundings<'a> {
    /// The charset of the texts; US-ASCII and UTF-8 when not given.
    pub(super) charset: Option<&'a str>,
    /// The mailbox's keywords, by number.
    pub(super) keywords: &'a [String],
    /// The UIDs of a set of message numbers; `None` when a number is none.
    pub(super) by_number: &'a dyn Fn(&SequenceSet) -> Option<UidSet>,
    /// The UIDs of a set of UIDs.
    pub(super) by_uid: &'a dyn Fn(&SequenceSet) -> UidSet,
}

/// What to look for.
#[derive(Debug)]
pub(super) struct Plan {
    root: Node,
    texts: Vec<TextKey>,
    /// MODSEQ is among the keys, so the reply tells it.
    pub(super) tells_modseq: bool,
}

#[derive(Debug)]
enum Node {
    Always(bool),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Flag(Flags),
    Recent,
    Uids(UidSet),
    ModSeq(ModSeq),
    Internal(When, Day),
    Larger(u64),
    Smaller(u64),
    Sent(When, Day),
    /// Whether text number n is found.
    Text(usize),
}

/// A text and where to look for it.
#[derive(Clone, Debug)]
struct TextKey {
    place: Place,
    matcher: Matcher,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Field(SearchField),
    Header(String),
    Body,
    Text,
}

/// Which reading of the message finds texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The header: fields.
    Header,
    /// Everything but the header.
    Body,
    /// Everything.
    Whole,
}

/// What is known of one message; each step knows more.
pub(super) struct Facts<'a> {
    pub(super) entry: &'a Entry,
    pub(super) is_recent: bool,
    pub(super) message: Option<&'a Message>,
    /// The day of the Date field, once the envelope was looked at.
    sent: Option<Option<Day>>,
    /// Which texts are found, once looked for.
    texts: Vec<Option<bool>>,
}

impl Plan {
    /// Makes `key` ready.
    pub(super) fn new(key: &SearchKey, around: &Surroundings<'_>) -> Result<Self, Refused> {
        if around.charset.is_some_and(|charset| decode_key(charset.as_bytes(), b"").is_none()) {
            return Err(Refused::Charset);
        }
        let mut plan = Self { root: Node::Always(true), texts: Vec::new(), tells_modseq: false };
        plan.root = plan.node(key, around)?;
        Ok(plan)
    }

    fn node(&mut self, key: &SearchKey, around: &Surroundings<'_>) -> Result<Node, Refused> {
        Ok(match key {
            SearchKey::All => Node::Always(true),
            SearchKey::And(keys) => Node::And(self.nodes(keys, around)?),
            SearchKey::Or(keys) => Node::Or(self.nodes(keys, around)?),
            SearchKey::Not(key) => Node::Not(Box::new(self.node(key, around)?)),
            SearchKey::Flag(flag) => Node::Flag(*flag),
            SearchKey::Keyword(name) => {
                let number = around.keywords.iter().position(|keyword| keyword.eq_ignore_ascii_case(name));
                number.map_or(Node::Always(false), |number| Node::Flag(Flags::keyword(number)))
            }
            SearchKey::Recent => Node::Recent,
            SearchKey::Internal(when, day) => Node::Internal(*when, *day),
            SearchKey::Sent(when, day) => Node::Sent(*when, *day),
            SearchKey::Larger(octets) => Node::Larger(*octets),
            SearchKey::Smaller(octets) => Node::Smaller(*octets),
            SearchKey::Field(field, text) => self.text(Place::Field(*field), text, around)?,
            SearchKey::Header(name, text) => self.text(Place::Header(name.clone()), text, around)?,
            SearchKey::Body(text) => self.text(Place::Body, text, around)?,
            SearchKey::Text(text) => self.text(Place::Text, text, around)?,
            SearchKey::Sequence(set) => Node::Uids((around.by_number)(set).ok_or(Refused::Number)?),
            SearchKey::Uid(set) => Node::Uids((around.by_uid)(set)),
            SearchKey::ModSeq(modseq) => {
                self.tells_modseq = true;
                Node::ModSeq(*modseq)
            }
        })
    }

    fn nodes(&mut self, keys: &[SearchKey], around: &Surroundings<'_>) -> Result<Vec<Node>, Refused> {
        keys.iter().map(|key| self.node(key, around)).collect()
    }

    fn text(&mut self, place: Place, text: &[u8], around: &Surroundings<'_>) -> Result<Node, Refused> {
        let charset = around.charset.unwrap_or("UTF-8");
        let text = decode_key(charset.as_bytes(), text).ok_or(Refused::Text)?;
        // Nothing is in everything; only HEADER asks then whether there is such a field.
        if text.is_empty() && !matches!(place, Place::Header(_)) {
            return Ok(Node::Always(true));
        }
        self.texts.push(TextKey { place, matcher: Matcher::new(&text) });
        Ok(Node::Text(self.texts.len() - 1))
    }

    /// A set that holds every message that can match, if one is plain to see: the smallest of those asked for.
    pub(super) fn only_among(&self) -> Option<&UidSet> {
        self.conditions()
            .filter_map(|node| if let Node::Uids(uids) = node { Some(uids) } else { None })
            .min_by_key(|uids| uids.len())
    }

    /// What every match has at the least, if a modification sequence is asked for.
    pub(super) fn modseq_at_least(&self) -> Option<ModSeq> {
        self.conditions().filter_map(|node| if let Node::ModSeq(modseq) = node { Some(*modseq) } else { None }).max()
    }

    /// Nodes that must all be true.
    fn conditions(&self) -> impl Iterator<Item = &Node> {
        let nodes = match &self.root {
            Node::And(nodes) => nodes.as_slice(),
            one => std::slice::from_ref(one),
        };
        nodes.iter()
    }

    /// Whether the message matches; `None` while too little is known.
    pub(super) fn decide(&self, facts: &Facts<'_>) -> Option<bool> {
        decide(&self.root, facts)
    }

    /// Whether this reading can find any text that is still looked for.
    pub(super) fn wants(&self, reading: Reading, facts: &Facts<'_>) -> bool {
        self.texts.iter().zip(&facts.texts).any(|(key, found)| found.is_none() && key.place.reading() == reading)
    }

    /// Whether more than headers is looked through.
    pub(super) fn reads_bodies(&self) -> bool {
        self.texts.iter().any(|key| key.place.reading() != Reading::Header)
    }

    /// Looks for what this reading finds.
    pub(super) fn finder(&self, reading: Reading) -> Finder {
        let keys = self.texts.iter().enumerate().filter(|(_, key)| key.place.reading() == reading);
        let slots = keys.map(|(number, key)| Slot { number, key: key.clone(), is_here: false, is_found: false });
        Finder { slots: slots.collect() }
    }

    /// Texts that the envelope alone decides.
    fn find_in_envelope(&self, envelope: &Envelope, facts: &mut Facts<'_>) {
        for (key, found) in self.texts.iter().zip(&mut facts.texts) {
            if let Place::Field(field) = &key.place {
                *found = Some(is_in_envelope(envelope, *field, &key.matcher));
            }
        }
    }
}

impl<'a> Facts<'a> {
    /// What the small row knows.
    pub(super) fn new(plan: &Plan, entry: &'a Entry, is_recent: bool) -> Self {
        Self { entry, is_recent, message: None, sent: None, texts: vec![None; plan.texts.len()] }
    }

    /// The envelope was looked at; when parts of it were left out, the header must be read for its fields.
    pub(super) fn know_envelope(&mut self, plan: &Plan, envelope: &Envelope, is_whole: bool) {
        let date = envelope.date.as_deref().and_then(parse_message_date);
        self.sent = Some(date.map(|date| Day(day(date))));
        if is_whole {
            plan.find_in_envelope(envelope, self);
        }
    }

    /// A reading is over: what it found, and that it did not find the rest.
    pub(super) fn know(&mut self, finder: &Finder) {
        for slot in &finder.slots {
            if let Some(found) = self.texts.get_mut(slot.number) {
                *found = Some(slot.is_found);
            }
        }
    }

    /// Nothing more can be learned: what is not known is not there.
    pub(super) fn give_up(&mut self) {
        self.sent.get_or_insert(None);
        for found in &mut self.texts {
            found.get_or_insert(false);
        }
    }
}

/// Looks for texts while a message streams through.
#[derive(Debug)]
pub(super) struct Finder {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    number: usize,
    key: TextKey,
    is_here: bool,
    is_found: bool,
}

impl Finder {
    /// Takes what comes.
    pub(super) fn take(&mut self, event: TextEvent<'_>) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.is_found) {
            match event {
                TextEvent::Field(name) => slot.begin(slot.key.place.is_field(name)),
                TextEvent::Part => slot.begin(matches!(slot.key.place, Place::Body | Place::Text)),
                TextEvent::Text(text) if slot.is_here => {
                    slot.key.matcher.feed(text);
                    slot.is_found = slot.key.matcher.found();
                }
                TextEvent::Text(_) => {}
            }
        }
    }

    /// Texts looked for.
    pub(super) fn texts(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is nothing left to look for.
    pub(super) fn is_done(&self) -> bool {
        self.slots.iter().all(|slot| slot.is_found)
    }
}

impl Slot {
    fn begin(&mut self, is_here: bool) {
        self.is_here = is_here;
        if is_here {
            self.key.matcher.restart();
            // The empty text is found wherever the field is.
            self.is_found |= self.key.matcher.found();
        }
    }
}

impl Place {
    fn reading(&self) -> Reading {
        match self {
            Self::Field(_) | Self::Header(_) => Reading::Header,
            Self::Body => Reading::Body,
            Self::Text => Reading::Whole,
        }
    }

    fn is_field(&self, name: &[u8]) -> bool {
        match self {
            Self::Field(field) => name.eq_ignore_ascii_case(field_name(*field)),
            Self::Header(wanted) => name.eq_ignore_ascii_case(wanted.as_bytes()),
            // Headers of messages and parts inside the body.
            Self::Body | Self::Text => true,
        }
    }
}

fn field_name(field: SearchField) -> &'static [u8] {
    match field {
        SearchField::Bcc => b"bcc",
        SearchField::Cc => b"cc",
        SearchField::From => b"from",
        SearchField::Subject => b"subject",
        SearchField::To => b"to",
    }
}

fn is_in_envelope(envelope: &Envelope, field: SearchField, matcher: &Matcher) -> bool {
    let addresses = match field {
        SearchField::Bcc => &envelope.bcc,
        SearchField::Cc => &envelope.cc,
        SearchField::From => &envelope.from,
        SearchField::To => &envelope.to,
        SearchField::Subject => {
            return envelope.subject.as_deref().is_some_and(|subject| is_in(&decode_words(subject), matcher));
        }
    };
    addresses.iter().any(|address| is_in(&address_text(address), matcher))
}

fn is_in(text: &str, matcher: &Matcher) -> bool {
    let mut matcher = matcher.clone();
    matcher.restart();
    matcher.feed(text);
    matcher.found()
}

/// An address as a reader sees it: `Name <local@domain>`.
fn address_text(address: &EnvelopeAddress) -> String {
    let text = |octets: &Option<Vec<u8>>| octets.as_deref().map(decode_words).unwrap_or_default();
    match &address.host {
        Some(_) => format!("{} <{}@{}>", text(&address.name), text(&address.mailbox), text(&address.host)),
        None => text(&address.mailbox),
    }
}

fn decide(node: &Node, facts: &Facts<'_>) -> Option<bool> {
    match node {
        Node::Always(answer) => Some(*answer),
        Node::And(nodes) => all(nodes, facts, false),
        Node::Or(nodes) => all(nodes, facts, true),
        Node::Not(node) => decide(node, facts).map(|answer| !answer),
        Node::Flag(flag) => Some(facts.entry.flags.has(*flag)),
        Node::Recent => Some(facts.is_recent),
        Node::Uids(uids) => Some(uids.contains(facts.entry.uid)),
        Node::ModSeq(modseq) => Some(facts.entry.modseq >= *modseq),
        Node::Internal(when, day) => facts.message.map(|message| compare(*when, Day::of(message.internal_date), *day)),
        Node::Larger(octets) => facts.message.map(|message| message.size > *octets),
        Node::Smaller(octets) => facts.message.map(|message| message.size < *octets),
        Node::Sent(when, day) => facts.sent.map(|sent| sent.is_some_and(|sent| compare(*when, sent, *day))),
        Node::Text(number) => facts.texts.get(*number).copied().flatten(),
    }
}

/// One node that answers `decisive` decides; all must answer for the other.
fn all(nodes: &[Node], facts: &Facts<'_>, decisive: bool) -> Option<bool> {
    let mut answer = Some(!decisive);
    for node in nodes {
        match decide(node, facts) {
            Some(found) if found == decisive => return Some(decisive),
            Some(_) => {}
            None => answer = None,
        }
    }
    answer
}

fn compare(when: When, day: Day, with: Day) -> bool {
    match when {
        When::Before => day < with,
        When::On => day == with,
        When::Since => day >= with,
    }
}
