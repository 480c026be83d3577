//! Replies to bytes (RFC 3501 section 7): status replies with their codes, and the one-line data replies.
//! Everything here is short; ENVELOPE and BODYSTRUCTURE have a file of their own.

use super::command::StatusItem;
use super::mailbox::{SEPARATOR, put_mailbox};
use super::sequence::{put_ranges, put_uids};
use super::tag::Tag;
use super::write;
use crate::store::{Flags, ModSeq, SpecialUse, Uid, UidSet, UidValidity};

/// The five status replies (RFC 3501 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// OK
    Ok,
    /// NO
    No,
    /// BAD
    Bad,
    /// PREAUTH
    PreAuth,
    /// BYE
    Bye,
}

/// A response code (RFC 3501 7.1 and those named).
#[derive(Clone, Debug, PartialEq)]
pub enum Code<'a> {
    /// ALERT: clients show the text to their user.
    Alert,
    /// ALREADYEXISTS (RFC 5530)
    AlreadyExists,
    /// APPENDUID (RFC 4315)
    AppendUid {
        /// The mailbox's UIDVALIDITY.
        validity: UidValidity,
        /// The new UIDs, as many as messages.
        uids: &'a UidSet,
    },
    /// AUTHENTICATIONFAILED (RFC 5530)
    AuthenticationFailed,
    /// AUTHORIZATIONFAILED (RFC 5530)
    AuthorizationFailed,
    /// BADCHARSET with the charsets known.
    BadCharset(&'a [&'a str]),
    /// CANNOT (RFC 5530): can never succeed.
    Cannot,
    /// CAPABILITY: the list, words separated by spaces.
    Capability(&'a str),
    /// CLIENTBUG (RFC 5530)
    ClientBug,
    /// CLOSED (RFC 7162): what follows is about the new mailbox.
    Closed,
    /// COPYUID (RFC 4315)
    CopyUid {
        /// The destination's UIDVALIDITY.
        validity: UidValidity,
        /// UIDs in the source, ascending.
        from: &'a UidSet,
        /// UIDs in the destination, in the same order.
        to: &'a UidSet,
    },
    /// CORRUPTION (RFC 5530)
    Corruption,
    /// EXPIRED (RFC 5530)
    Expired,
    /// EXPUNGEISSUED (RFC 5530)
    ExpungeIssued,
    /// HIGHESTMODSEQ (RFC 7162)
    HighestModSeq(ModSeq),
    /// INUSE (RFC 5530)
    InUse,
    /// LIMIT (RFC 5530)
    Limit,
    /// MODIFIED (RFC 7162): numbers as the command's, message numbers or UIDs.
    Modified(&'a [(u32, u32)]),
    /// NOMODSEQ (RFC 7162)
    NoModSeq,
    /// NONEXISTENT (RFC 5530)
    NonExistent,
    /// NOPERM (RFC 5530)
    NoPerm,
    /// OVERQUOTA (RFC 5530)
    OverQuota,
    /// PARSE
    Parse,
    /// PERMANENTFLAGS: flags that last, and `\*` if new keywords can be made.
    PermanentFlags {
        /// System flags.
        system: Flags,
        /// Keywords.
        keywords: &'a [String],
        /// `\*`
        new_keywords: bool,
    },
    /// PRIVACYREQUIRED (RFC 5530)
    PrivacyRequired,
    /// READ-ONLY
    ReadOnly,
    /// READ-WRITE
    ReadWrite,
    /// SERVERBUG (RFC 5530)
    ServerBug,
    /// TOOBIG (RFC 4469)
    TooBig,
    /// TRYCREATE
    TryCreate,
    /// UIDNEXT
    UidNext(Uid),
    /// UIDVALIDITY
    UidValidity(UidValidity),
    /// UNAVAILABLE (RFC 5530): later.
    Unavailable,
    /// UNKNOWN-CTE (RFC 3516)
    UnknownCte,
    /// UNSEEN: the first unseen message's number.
    Unseen(u32),
    /// USEATTR (RFC 6154): no such special use.
    UseAttr,
}

/// Writes a status reply: tagged, or untagged without a tag.
pub fn status(out: &mut Vec<u8>, tag: Option<&Tag>, condition: Condition, code: Option<&Code<'_>>, text: &str) {
    out.extend_from_slice(tag.map_or("*", Tag::as_str).as_bytes());
    out.extend_from_slice(match condition {
        Condition::Ok => b" OK ",
        Condition::No => b" NO ",
        Condition::Bad => b" BAD ",
        Condition::PreAuth => b" PREAUTH ",
        Condition::Bye => b" BYE ",
    });
    if let Some(code) = code {
        out.push(b'[');
        put_code(out, code);
        out.extend_from_slice(b"] ");
    }
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a go-ahead: `+ text`. `+` is always followed by a space and something: some clients need both.
pub fn go_ahead(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn put_code(out: &mut Vec<u8>, code: &Code<'_>) {
    let word: &[u8] = match code {
        Code::Alert => b"ALERT",
        Code::AlreadyExists => b"ALREADYEXISTS",
        Code::AppendUid { .. } => b"APPENDUID ",
        Code::AuthenticationFailed => b"AUTHENTICATIONFAILED",
        Code::AuthorizationFailed => b"AUTHORIZATIONFAILED",
        Code::BadCharset(_) => b"BADCHARSET",
        Code::Cannot => b"CANNOT",
        Code::Capability(_) => b"CAPABILITY ",
        Code::ClientBug => b"CLIENTBUG",
        Code::Closed => b"CLOSED",
        Code::CopyUid { .. } => b"COPYUID ",
        Code::Corruption => b"CORRUPTION",
        Code::Expired => b"EXPIRED",
        Code::ExpungeIssued => b"EXPUNGEISSUED",
        Code::HighestModSeq(_) => b"HIGHESTMODSEQ ",
        Code::InUse => b"INUSE",
        Code::Limit => b"LIMIT",
        Code::Modified(_) => b"MODIFIED ",
        Code::NoModSeq => b"NOMODSEQ",
        Code::NonExistent => b"NONEXISTENT",
        Code::NoPerm => b"NOPERM",
        Code::OverQuota => b"OVERQUOTA",
        Code::Parse => b"PARSE",
        Code::PermanentFlags { .. } => b"PERMANENTFLAGS ",
        Code::PrivacyRequired => b"PRIVACYREQUIRED",
        Code::ReadOnly => b"READ-ONLY",
        Code::ReadWrite => b"READ-WRITE",
        Code::ServerBug => b"SERVERBUG",
        Code::TooBig => b"TOOBIG",
        Code::TryCreate => b"TRYCREATE",
        Code::UidNext(_) => b"UIDNEXT ",
        Code::UidValidity(_) => b"UIDVALIDITY ",
        Code::Unavailable => b"UNAVAILABLE",
        Code::UnknownCte => b"UNKNOWN-CTE",
        Code::Unseen(_) => b"UNSEEN ",
        Code::UseAttr => b"USEATTR",
    };
    out.extend_from_slice(word);
    put_code_arguments(out, code);
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most codes have no arguments")]
fn put_code_arguments(out: &mut Vec<u8>, code: &Code<'_>) {
    match code {
        Code::AppendUid { validity, uids } => {
            write::number(out, u64::from(validity.0));
            out.push(b' ');
            put_uids(out, uids);
        }
        Code::CopyUid { validity, from, to } => {
            write::number(out, u64::from(validity.0));
            out.push(b' ');
            put_uids(out, from);
            out.push(b' ');
            put_uids(out, to);
        }
        Code::BadCharset(charsets) if !charsets.is_empty() => {
            out.extend_from_slice(b" (");
            put_words(out, charsets.iter().map(|name| name.as_bytes()));
            out.push(b')');
        }
        Code::Capability(list) => out.extend_from_slice(list.as_bytes()),
        Code::HighestModSeq(modseq) => write::number(out, modseq.0),
        Code::Modified(ranges) => put_ranges(out, ranges.iter().copied()),
        Code::PermanentFlags { system, keywords, new_keywords } => {
            let names = flag_names(*system).chain(keywords.iter().map(String::as_bytes));
            put_list(out, names.chain(new_keywords.then_some(&b"\\*"[..])));
        }
        Code::UidNext(uid) => write::number(out, u64::from(uid.0)),
        Code::UidValidity(validity) => write::number(out, u64::from(validity.0)),
        Code::Unseen(number) => write::number(out, u64::from(*number)),
        _ => {}
    }
}

/// The names of the system flags in `flags`.
fn flag_names<'a>(flags: Flags) -> impl Iterator<Item = &'a [u8]> {
    const NAMES: [(Flags, &[u8]); 5] = [
        (Flags::ANSWERED, b"\\Answered"),
        (Flags::FLAGGED, b"\\Flagged"),
        (Flags::DELETED, b"\\Deleted"),
        (Flags::SEEN, b"\\Seen"),
        (Flags::DRAFT, b"\\Draft"),
    ];
    NAMES.into_iter().filter(move |&(flag, _)| flags.has(flag)).map(|(_, name)| name)
}

/// Writes a message's flags: `(\Seen $Forwarded \Recent)`; `keywords` are its mailbox's, by number.
pub fn put_flags(out: &mut Vec<u8>, flags: Flags, keywords: &[String], recent: bool) {
    let own = keywords.iter().enumerate().filter(|&(n, _)| {
        let flag = Flags::keyword(n);
        flag.0 != 0 && flags.has(flag)
    });
    let names = flag_names(flags).chain(own.map(|(_, name)| name.as_bytes()));
    put_list(out, names.chain(recent.then_some(&b"\\Recent"[..])));
}

/// Writes `* FLAGS (...)`: the system flags and a mailbox's keywords.
pub fn flags(out: &mut Vec<u8>, keywords: &[String]) {
    out.extend_from_slice(b"* FLAGS ");
    put_list(out, flag_names(ALL_SYSTEM_FLAGS).chain(keywords.iter().map(String::as_bytes)));
    out.extend_from_slice(b"\r\n");
}

/// All five.
pub const ALL_SYSTEM_FLAGS: Flags = Flags((1 << Flags::KEYWORD_BIT_FIRST) - 1);

/// Writes `* n EXISTS`.
pub fn exists(out: &mut Vec<u8>, count: u32) {
    counted(out, count, "EXISTS");
}

/// Writes `* n RECENT`.
pub fn recent(out: &mut Vec<u8>, count: u32) {
    counted(out, count, "RECENT");
}

/// Writes `* n EXPUNGE`.
pub fn expunge(out: &mut Vec<u8>, number: u32) {
    counted(out, number, "EXPUNGE");
}

fn counted(out: &mut Vec<u8>, number: u32, word: &str) {
    out.extend_from_slice(b"* ");
    write::number(out, u64::from(number));
    out.push(b' ');
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes `* CAPABILITY ...`; `list` is words separated by spaces.
pub fn capability(out: &mut Vec<u8>, list: &str) {
    line(out, "CAPABILITY ", list);
}

/// Writes `* ENABLED ...` (RFC 5161); nothing but the word when nothing was enabled.
pub fn enabled(out: &mut Vec<u8>, list: &str) {
    line(out, if list.is_empty() { "ENABLED" } else { "ENABLED " }, list);
}

fn line(out: &mut Vec<u8>, word: &str, rest: &str) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(rest.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes `* NAMESPACE`: one personal namespace without a prefix, no others (RFC 2342).
pub fn namespace(out: &mut Vec<u8>) {
    line(out, "NAMESPACE ", &format!("((\"\" \"{SEPARATOR}\")) NIL NIL"));
}

/// Writes `* ID (...)` (RFC 2971).
pub fn id(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    out.extend_from_slice(b"* ID (");
    for (n, (field, value)) in pairs.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        write::string(out, field.as_bytes());
        out.push(b' ');
        write::string(out, value.as_bytes());
    }
    out.extend_from_slice(b")\r\n");
}

/// An attribute of a mailbox in LIST and LSUB (RFC 3501 7.2.2, RFC 3348, RFC 5258, RFC 6154).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListAttribute {
    /// \Noselect
    NoSelect,
    /// \NonExistent (RFC 5258)
    NonExistent,
    /// \HasChildren
    HasChildren,
    /// \HasNoChildren
    HasNoChildren,
    /// \Subscribed (RFC 5258)
    Subscribed,
    /// \Inbox (XLIST only)
    Inbox,
    /// \Archive, \Drafts, ...
    Use(SpecialUse),
}

impl ListAttribute {
    /// Its name with the backslash.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSelect => "\\Noselect",
            Self::NonExistent => "\\NonExistent",
            Self::HasChildren => "\\HasChildren",
            Self::HasNoChildren => "\\HasNoChildren",
            Self::Subscribed => "\\Subscribed",
            Self::Inbox => "\\Inbox",
            Self::Use(SpecialUse::Archive) => "\\Archive",
            Self::Use(SpecialUse::Drafts) => "\\Drafts",
            Self::Use(SpecialUse::Junk) => "\\Junk",
            Self::Use(SpecialUse::Sent) => "\\Sent",
            Self::Use(SpecialUse::Trash) => "\\Trash",
        }
    }
}

/// Writes `* LIST (...) "/" name`, or LSUB, XLIST. `child_info` is CHILDINFO ("SUBSCRIBED") of RFC 5258 3.5.
pub fn list(
    out: &mut Vec<u8>,
    kind: super::command::ListKind,
    attributes: &[ListAttribute],
    name: &str,
    child_info: bool,
) {
    out.extend_from_slice(match kind {
        super::command::ListKind::List => b"* LIST ",
        super::command::ListKind::Lsub => b"* LSUB ",
        super::command::ListKind::Xlist => b"* XLIST ",
    });
    put_list(out, attributes.iter().map(|attribute| attribute.name().as_bytes()));
    out.extend_from_slice(b" \"/\" ");
    put_mailbox(out, name);
    if child_info {
        out.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes `* STATUS name (...)`.
pub fn mailbox_status(out: &mut Vec<u8>, name: &str, items: &[(StatusItem, u64)]) {
    out.extend_from_slice(b"* STATUS ");
    put_mailbox(out, name);
    out.extend_from_slice(b" (");
    for (n, (item, value)) in items.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(item.name().as_bytes());
        out.push(b' ');
        write::number(out, *value);
    }
    out.extend_from_slice(b")\r\n");
}

impl StatusItem {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::HighestModSeq => "HIGHESTMODSEQ",
        }
    }
}

/// Writes `(a b c)`.
pub(super) fn put_list<'a>(out: &mut Vec<u8>, words: impl IntoIterator<Item = &'a [u8]>) {
    out.push(b'(');
    put_words(out, words);
    out.push(b')');
}

fn put_words<'a>(out: &mut Vec<u8>, words: impl IntoIterator<Item = &'a [u8]>) {
    for (n, word) in words.into_iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::ListKind;
    use super::*;

    fn printed(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn uids(numbers: &[u32]) -> UidSet {
        numbers.iter().copied().map(Uid).collect()
    }

    #[test]
    fn codes_are_printed_as_their_rfcs_show() {
        let tag = Tag::parse(b"a1").unwrap();
        let (one, few, keywords) = (uids(&[3955]), uids(&[304, 319, 320]), ["$Forwarded".to_owned()]);
        let own = uids(&[3956, 3957, 3958]);
        let (validity, kinds) = (UidValidity(38_505), ["US-ASCII", "UTF-8"]);
        let lasting = |system, keywords, new_keywords| Code::PermanentFlags { system, keywords, new_keywords };
        let rows: &[(Code<'_>, &str, &str)] = &[
            (Code::AppendUid { validity, uids: &one }, "[APPENDUID 38505 3955]", "RFC 4315 section 3"),
            (Code::CopyUid { validity, from: &few, to: &own }, "[COPYUID 38505 304,319:320 3956:3958]", "RFC 4315"),
            (Code::BadCharset(&kinds), "[BADCHARSET (US-ASCII UTF-8)]", "RFC 3501 7.1"),
            (Code::BadCharset(&[]), "[BADCHARSET]", "the list is optional"),
            (Code::Capability("IMAP4rev1 IDLE"), "[CAPABILITY IMAP4rev1 IDLE]", "RFC 3501 7.1"),
            (Code::HighestModSeq(ModSeq(715_194_045_007)), "[HIGHESTMODSEQ 715194045007]", "RFC 7162 3.1.2.1"),
            (Code::Modified(&[(7, 7), (9, 9)]), "[MODIFIED 7,9]", "RFC 7162 3.1.3"),
            (
                lasting(Flags::DELETED.with(Flags::SEEN), &[], true),
                "[PERMANENTFLAGS (\\Deleted \\Seen \\*)]",
                "RFC 3501 6.3.1",
            ),
            (lasting(Flags::default(), &[], false), "[PERMANENTFLAGS ()]", "RFC 3501 6.3.2: nothing lasts"),
            (lasting(Flags::SEEN, &keywords, false), "[PERMANENTFLAGS (\\Seen $Forwarded)]", "keywords"),
            (Code::UidNext(Uid(4392)), "[UIDNEXT 4392]", "RFC 3501 6.3.1"),
            (Code::UidValidity(UidValidity(3_857_529_045)), "[UIDVALIDITY 3857529045]", "RFC 3501 6.3.1"),
            (Code::Unseen(12), "[UNSEEN 12]", "RFC 3501 6.3.1"),
            (Code::ReadWrite, "[READ-WRITE]", "RFC 3501 6.3.1"),
            (Code::TryCreate, "[TRYCREATE]", "RFC 3501 6.3.11"),
            (Code::UnknownCte, "[UNKNOWN-CTE]", "RFC 3516 4.3"),
        ];
        for (code, expected, why) in rows {
            let line = printed(|out| status(out, Some(&tag), Condition::Ok, Some(code), "done"));
            assert_eq!(line, format!("a1 OK {expected} done\r\n"), "{why}");
        }
    }

    #[test]
    fn status_replies_are_tagged_or_not() {
        let tag = Tag::parse(b"a1").unwrap();
        for (tag, condition, expected) in [
            (Some(&tag), Condition::No, "a1 NO x\r\n"),
            (Some(&tag), Condition::Bad, "a1 BAD x\r\n"),
            (None, Condition::Ok, "* OK x\r\n"),
            (None, Condition::PreAuth, "* PREAUTH x\r\n"),
            (None, Condition::Bye, "* BYE x\r\n"),
        ] {
            assert_eq!(printed(|out| status(out, tag, condition, None, "x")), expected);
        }
        assert_eq!(printed(|out| go_ahead(out, "send it")), "+ send it\r\n");
    }

    #[test]
    fn flags_are_named_in_a_fixed_order() {
        let keywords = ["$MDNSent".to_owned(), "Junk".to_owned()];
        let flags = Flags::SEEN.with(Flags::ANSWERED).with(Flags::keyword(1));
        assert_eq!(printed(|out| put_flags(out, flags, &keywords, true)), "(\\Answered \\Seen Junk \\Recent)");
        assert_eq!(printed(|out| put_flags(out, Flags::default(), &keywords, false)), "()");
        let line = "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $MDNSent Junk)\r\n";
        assert_eq!(printed(|out| super::flags(out, &keywords)), line);
    }

    #[test]
    fn data_replies_are_lines_of_the_rfc() {
        for (line, expected) in [
            (printed(|out| exists(out, 172)), "* 172 EXISTS\r\n"),
            (printed(|out| recent(out, 0)), "* 0 RECENT\r\n"),
            (printed(|out| expunge(out, 3)), "* 3 EXPUNGE\r\n"),
            (printed(|out| capability(out, "IMAP4rev1 ID")), "* CAPABILITY IMAP4rev1 ID\r\n"),
            (printed(|out| enabled(out, "CONDSTORE")), "* ENABLED CONDSTORE\r\n"),
            (printed(|out| enabled(out, "")), "* ENABLED\r\n"),
            (printed(namespace), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"),
            (
                printed(|out| id(out, &[("name", "Pigeon"), ("x", "y\"z")])),
                "* ID (\"name\" \"Pigeon\" \"x\" \"y\\\"z\")\r\n",
            ),
        ] {
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn mailboxes_are_listed_with_their_attributes() {
        let attributes = [ListAttribute::HasNoChildren, ListAttribute::Use(SpecialUse::Drafts)];
        for (kind, name, child_info, expected) in [
            (ListKind::List, "Drafts", false, "* LIST (\\HasNoChildren \\Drafts) \"/\" Drafts\r\n"),
            (ListKind::Xlist, "a b", false, "* XLIST (\\HasNoChildren \\Drafts) \"/\" \"a b\"\r\n"),
            (ListKind::Lsub, "Entwürfe", false, "* LSUB (\\HasNoChildren \\Drafts) \"/\" Entw&APw-rfe\r\n"),
            (
                ListKind::List,
                "a",
                true,
                "* LIST (\\HasNoChildren \\Drafts) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n",
            ),
        ] {
            assert_eq!(printed(|out| list(out, kind, &attributes, name, child_info)), expected);
        }
        // RFC 3501 6.3.8: what an empty pattern is answered.
        let root = printed(|out| list(out, ListKind::List, &[ListAttribute::NoSelect], "", false));
        assert_eq!(root, "* LIST (\\Noselect) \"/\" \"\"\r\n");
    }

    #[test]
    fn status_tells_what_was_asked_in_that_order() {
        let items = [(StatusItem::Messages, 231), (StatusItem::UidNext, 44_292), (StatusItem::HighestModSeq, 7)];
        let line = printed(|out| mailbox_status(out, "blurdybloop", &items));
        assert_eq!(line, "* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292 HIGHESTMODSEQ 7)\r\n");
    }
}
