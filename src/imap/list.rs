//! LIST, LSUB and XLIST (RFC 3501 6.3.8, 6.3.9; RFC 5258, 5819, 6154, 3348): which names, with which attributes.

use super::failure::Failure;
use super::grammar::reply::{self, ListAttribute};
use super::grammar::{INBOX, List, ListKind, SEPARATOR, Tag};
use super::session::{Session, send};
use super::status;
use crate::store::{NameQuery, NamedMailbox, Refusal};
use smol::future::yield_now;

/// Memory of a step of names.
const STEP_BYTES: usize = 64 * 1024;

impl Session {
    /// LIST, LSUB and XLIST: any number of names in steps.
    pub(super) async fn list(&mut self, tag: &Tag, list: List) -> Result<(), Failure> {
        let account = self.user()?.account;
        if !list.returns.status.is_empty() {
            let modseq = list.returns.status.contains(&super::grammar::StatusItem::HighestModSeq);
            self.user()?.condstore |= modseq;
        }
        if list.patterns.iter().any(|pattern| pattern.asks_for_root()) {
            send(&mut self.wire, |out| reply::list(out, list.kind, &[ListAttribute::NoSelect], "", false)).await?;
        }
        let room = self.wire.budget().take(STEP_BYTES).ok_or(Refusal::NoMemory)?;
        let mut lister = Lister::new(&list);
        let mut after = None;
        loop {
            let step = self.context.store.name_step(account, after, lister.query()).await?;
            for name in step.names {
                for told in lister.take(name) {
                    self.tell(&list, &told).await?;
                }
                // Long patterns cost a while for each name: others go first.
                yield_now().await;
            }
            if step.next.is_none() {
                break;
            }
            after = step.next;
        }
        drop(room);
        self.ok(tag, None, "that is all").await
    }

    async fn tell(&mut self, list: &List, told: &Told) -> Result<(), Failure> {
        let name = &told.mailbox.name;
        send(&mut self.wire, |out| reply::list(out, list.kind, &told.attributes, name, told.child_info)).await?;
        if let Some(id) = told.mailbox.id.filter(|_| !list.returns.status.is_empty()) {
            // RFC 5819 section 2: where it cannot be found out, the name goes without.
            if let Ok(Some(mailbox)) = self.context.store.mailbox(id).await {
                let values = status::values(&self.context.store, &mailbox, &list.returns.status).await?;
                send(&mut self.wire, |out| reply::mailbox_status(out, name, &values)).await?;
            }
        }
        Ok(())
    }
}

/// What is told about a name.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    mailbox: NamedMailbox,
    attributes: Vec<ListAttribute>,
    child_info: bool,
}

/// Takes names in order and says what is told about them; pure.
struct Lister<'a> {
    list: &'a List,
    /// LSUB: parents that are told once a name below them is found that the pattern does not match. Each is below the one
    /// before it.
    parents: Vec<NamedMailbox>,
}

impl<'a> Lister<'a> {
    fn new(list: &'a List) -> Self {
        Self { list, parents: Vec::new() }
    }

    /// The names to take.
    fn query(&self) -> NameQuery {
        let select = self.list.select;
        NameQuery {
            subscribed: self.list.kind == ListKind::Lsub || select.subscribed,
            above: select.recursive_match,
            special_use: select.special_use,
        }
    }

    /// The next name, and what is told because of it.
    fn take(&mut self, mailbox: NamedMailbox) -> Vec<Told> {
        let matches = self.list.patterns.iter().any(|pattern| pattern.matches(&mailbox.name));
        if self.list.kind == ListKind::Lsub {
            return self.take_subscribed(mailbox, matches);
        }
        let select = self.list.select;
        let exists = mailbox.exists || select.subscribed;
        let subscribed = !select.subscribed || mailbox.is_subscribed;
        let special = !select.special_use || mailbox.special_use.is_some();
        let child_info = select.recursive_match && mailbox.is_above;
        if matches && ((exists && subscribed && special) || child_info) {
            return vec![Told { attributes: self.attributes(&mailbox), mailbox, child_info }];
        }
        Vec::new()
    }

    /// RFC 3501 6.3.9: a name subscribed to is told; with % its parent stands for one that the pattern does not match.
    fn take_subscribed(&mut self, mailbox: NamedMailbox, matches: bool) -> Vec<Told> {
        let is_below = |parent: &NamedMailbox| {
            mailbox.name.strip_prefix(&parent.name).is_some_and(|rest| rest.starts_with(SEPARATOR))
        };
        self.parents.retain(is_below);
        match (mailbox.is_subscribed, matches) {
            (false, true) => {
                self.parents.push(mailbox);
                Vec::new()
            }
            (false, false) => Vec::new(),
            (true, true) => {
                vec![Told { attributes: self.attributes(&mailbox), mailbox, child_info: false }]
            }
            (true, false) => {
                let stands = |mailbox| Told { mailbox, attributes: vec![ListAttribute::NoSelect], child_info: false };
                self.parents.drain(..).map(stands).collect()
            }
        }
    }

    fn attributes(&self, mailbox: &NamedMailbox) -> Vec<ListAttribute> {
        let list = self.list;
        let mut attributes = Vec::new();
        if mailbox.exists {
            let has_children = mailbox.has_children;
            attributes.push(if has_children { ListAttribute::HasChildren } else { ListAttribute::HasNoChildren });
            attributes.extend(mailbox.special_use.map(ListAttribute::Use));
            if list.kind == ListKind::Xlist && mailbox.name == INBOX {
                attributes.push(ListAttribute::Inbox);
            }
        } else if list.kind != ListKind::Lsub {
            attributes.push(ListAttribute::NonExistent);
        }
        if (list.returns.subscribed || list.select.subscribed) && mailbox.is_subscribed {
            attributes.push(ListAttribute::Subscribed);
        }
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::grammar::{ListReturn, ListSelect, Pattern};
    use crate::store::{MailboxId, SpecialUse};

    const MAILBOXES: [&str; 6] = ["INBOX", "Sent", "a", "a b", "a/b", "a/b/c"];
    const SUBSCRIBED: [&str; 3] = ["INBOX", "a/b/c", "gone/x"];

    /// As the store tells it.
    fn mailbox(name: &str, query: NameQuery) -> NamedMailbox {
        let is_below = |found: &str| found.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        let exists = MAILBOXES.contains(&name);
        let among: &[&str] = if query.subscribed { &SUBSCRIBED } else { &MAILBOXES };
        NamedMailbox {
            name: name.to_owned(),
            id: exists.then_some(MailboxId(1)),
            exists,
            special_use: (name == "Sent").then_some(SpecialUse::Sent),
            has_children: MAILBOXES.iter().any(|found| is_below(found)),
            is_subscribed: SUBSCRIBED.contains(&name),
            is_above: query.above && !query.special_use && among.iter().any(|found| is_below(found)),
        }
    }

    fn listed(kind: ListKind, pattern: &str, select: ListSelect) -> Vec<String> {
        let patterns = vec![Pattern::new(b"", pattern.as_bytes()).unwrap()];
        let list = List { kind, patterns, select, returns: ListReturn::default() };
        let mut lister = Lister::new(&list);
        let query = lister.query();
        let names: &[&str] =
            if query.subscribed { &["INBOX", "a", "a/b", "a/b/c", "gone", "gone/x"] } else { &MAILBOXES };
        let mut lines = Vec::new();
        for name in names {
            for Told { mailbox, attributes, child_info } in lister.take(mailbox(name, query)) {
                let attributes: Vec<&str> = attributes.iter().map(|a| a.name()).collect();
                let info = if child_info { " +" } else { "" };
                lines.push(format!("({}) {}{info}", attributes.join(" "), mailbox.name));
            }
        }
        lines
    }

    #[test]
    fn plain_list_tells_children_and_special_uses() {
        let all = listed(ListKind::List, "*", ListSelect::default());
        assert_eq!(
            all,
            [
                r"(\HasNoChildren) INBOX",
                r"(\HasNoChildren \Sent) Sent",
                r"(\HasChildren) a",
                r"(\HasNoChildren) a b",
                r"(\HasChildren) a/b",
                r"(\HasNoChildren) a/b/c",
            ]
        );
        assert_eq!(listed(ListKind::List, "a/%", ListSelect::default()), [r"(\HasChildren) a/b"]);
        assert_eq!(
            listed(ListKind::Xlist, "inbox", ListSelect::default()),
            [r"(\HasNoChildren \Inbox) INBOX"],
            "Gmail's attribute"
        );
    }

    #[test]
    fn lsub_tells_subscriptions_and_with_percent_their_parents() {
        assert_eq!(
            listed(ListKind::Lsub, "*", ListSelect::default()),
            [r"(\HasNoChildren) INBOX", r"(\HasNoChildren) a/b/c", "() gone/x"]
        );
        // RFC 3501 6.3.9: "foo" is returned with \Noselect when only "foo/bar" is subscribed.
        assert_eq!(
            listed(ListKind::Lsub, "%", ListSelect::default()),
            [r"(\HasNoChildren) INBOX", r"(\Noselect) a", r"(\Noselect) gone"]
        );
    }

    #[test]
    fn list_selects_by_subscription_and_special_use() {
        let subscribed = ListSelect { subscribed: true, ..ListSelect::default() };
        assert_eq!(
            listed(ListKind::List, "*", subscribed),
            [
                r"(\HasNoChildren \Subscribed) INBOX",
                r"(\HasNoChildren \Subscribed) a/b/c",
                r"(\NonExistent \Subscribed) gone/x",
            ]
        );
        let recursive = ListSelect { recursive_match: true, ..subscribed };
        assert_eq!(
            listed(ListKind::List, "%", recursive),
            [r"(\HasNoChildren \Subscribed) INBOX", r"(\HasChildren) a +", r"(\NonExistent) gone +"],
            "RFC 5258 3.5: parents are told for what is below them"
        );
        let special = ListSelect { special_use: true, ..ListSelect::default() };
        assert_eq!(listed(ListKind::List, "*", special), [r"(\HasNoChildren \Sent) Sent"]);
    }
}
