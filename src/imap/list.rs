//! LIST, LSUB and XLIST (RFC 3501 6.3.8, 6.3.9; RFC 5258, 5819, 6154, 3348): which names, with which attributes.

use super::failure::Failure;
use super::grammar::reply::{self, ListAttribute};
use super::grammar::{INBOX, List, ListKind, ListSelect, SEPARATOR, Tag};
use super::session::{Session, send};
use super::status;
use crate::store::Mailbox;
use smol::future::yield_now;

impl Session {
    /// LIST, LSUB and XLIST.
    pub(super) async fn list(&mut self, tag: &Tag, list: List) -> Result<(), Failure> {
        let account = self.user()?.account;
        if !list.returns.status.is_empty() {
            let modseq = list.returns.status.contains(&super::grammar::StatusItem::HighestModSeq);
            self.user()?.condstore |= modseq;
        }
        if list.patterns.iter().any(|pattern| pattern.asks_for_root()) {
            send(&mut self.wire, |out| reply::list(out, list.kind, &[ListAttribute::NoSelect], "", false)).await?;
        }
        let mailboxes = self.context.store.mailboxes(account).await?;
        let subscriptions = self.context.store.subscriptions(account).await?;
        let names = Names::new(mailboxes, subscriptions);
        for name in names.candidates(&list) {
            // A hostile pattern costs milliseconds a name: others go first.
            yield_now().await;
            let Some(told) = names.told(&list, &name) else { continue };
            send(&mut self.wire, |out| reply::list(out, list.kind, &told.attributes, &name, told.child_info)).await?;
            if let Some(mailbox) = names.mailbox(&name).filter(|_| !list.returns.status.is_empty()) {
                let values = status::values(&self.context.store, mailbox, &list.returns.status).await?;
                send(&mut self.wire, |out| reply::mailbox_status(out, &name, &values)).await?;
            }
        }
        self.ok(tag, None, "that is all").await
    }
}

/// What is told about a name.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    attributes: Vec<ListAttribute>,
    child_info: bool,
}

/// An account's mailboxes and subscriptions, each sorted by name.
struct Names {
    mailboxes: Vec<Mailbox>,
    subscriptions: Vec<String>,
}

impl Names {
    fn new(mut mailboxes: Vec<Mailbox>, mut subscriptions: Vec<String>) -> Self {
        mailboxes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        subscriptions.sort_unstable();
        Self { mailboxes, subscriptions }
    }

    /// Every name that may be told, sorted: mailboxes, and where subscriptions are asked for those that do not exist and
    /// the parents of all.
    fn candidates(&self, list: &List) -> Vec<String> {
        let mut names: Vec<String> = self.mailboxes.iter().map(|mailbox| mailbox.name.clone()).collect();
        if list.kind == ListKind::Lsub || list.select.subscribed {
            for name in &self.subscriptions {
                names.push(name.clone());
                let ends = name.char_indices().filter(|(_, c)| *c == SEPARATOR).map(|(at, _)| at);
                names.extend(ends.filter_map(|at| name.get(..at)).map(str::to_owned));
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What `list` tells about `name`; `None` when it is not asked for.
    fn told(&self, list: &List, name: &str) -> Option<Told> {
        let matches = |name: &str| list.patterns.iter().any(|pattern| pattern.matches(name));
        if !matches(name) {
            return None;
        }
        if list.kind == ListKind::Lsub {
            if self.is_subscribed(name) {
                return Some(Told { attributes: self.attributes(list, name), child_info: false });
            }
            // RFC 3501 6.3.9: with % the parent stands for the subscribed name below it.
            let stands = self.below(name).any(|below| !matches(below));
            return stands.then(|| Told { attributes: vec![ListAttribute::NoSelect], child_info: false });
        }
        let is_selected = self.is_selected(list.select, name);
        let child_info = list.select.recursive_match && self.has_selected_below(list.select, name);
        (is_selected || child_info).then(|| Told { attributes: self.attributes(list, name), child_info })
    }

    fn attributes(&self, list: &List, name: &str) -> Vec<ListAttribute> {
        let mut attributes = Vec::new();
        match self.mailbox(name) {
            None if list.kind == ListKind::Lsub => {}
            None => attributes.push(ListAttribute::NonExistent),
            Some(mailbox) => {
                let has_children = self.has_children(name);
                attributes.push(if has_children { ListAttribute::HasChildren } else { ListAttribute::HasNoChildren });
                attributes.extend(mailbox.special_use.map(ListAttribute::Use));
                if list.kind == ListKind::Xlist && name == INBOX {
                    attributes.push(ListAttribute::Inbox);
                }
            }
        }
        if (list.returns.subscribed || list.select.subscribed) && self.is_subscribed(name) {
            attributes.push(ListAttribute::Subscribed);
        }
        attributes
    }

    fn is_selected(&self, select: ListSelect, name: &str) -> bool {
        let mailbox = self.mailbox(name);
        let exists = mailbox.is_some() || select.subscribed;
        let subscribed = !select.subscribed || self.is_subscribed(name);
        let special = !select.special_use || mailbox.is_some_and(|mailbox| mailbox.special_use.is_some());
        exists && subscribed && special
    }

    fn has_selected_below(&self, select: ListSelect, name: &str) -> bool {
        let prefix = below(name);
        let from = self.mailboxes.partition_point(|mailbox| mailbox.name < prefix);
        let mailboxes = self.mailboxes.get(from..).unwrap_or_default().iter().map(|mailbox| mailbox.name.as_str());
        let mut below = mailboxes.take_while(|found| found.starts_with(&prefix)).chain(self.below(name));
        below.any(|found| self.is_selected(select, found))
    }

    /// Subscribed names below `name`.
    fn below(&self, name: &str) -> impl Iterator<Item = &str> {
        let prefix = below(name);
        let from = self.subscriptions.partition_point(|found| *found < prefix);
        let found = self.subscriptions.get(from..).unwrap_or_default().iter();
        found.map(String::as_str).take_while(move |found| found.starts_with(&prefix))
    }

    fn has_children(&self, name: &str) -> bool {
        let prefix = below(name);
        let at = self.mailboxes.partition_point(|mailbox| mailbox.name < prefix);
        self.mailboxes.get(at).is_some_and(|mailbox| mailbox.name.starts_with(&prefix))
    }

    fn mailbox(&self, name: &str) -> Option<&Mailbox> {
        let at = self.mailboxes.binary_search_by(|mailbox| mailbox.name.as_str().cmp(name)).ok()?;
        self.mailboxes.get(at)
    }

    fn is_subscribed(&self, name: &str) -> bool {
        self.subscriptions.binary_search_by(|found| found.as_str().cmp(name)).is_ok()
    }
}

/// What every name below `name` begins with.
fn below(name: &str) -> String {
    format!("{name}{SEPARATOR}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::grammar::{ListReturn, Pattern};
    use crate::store::{AccountId, MailboxId, ModSeq, SpecialUse, Uid, UidValidity};

    fn mailbox(name: &str, special_use: Option<SpecialUse>) -> Mailbox {
        Mailbox {
            id: MailboxId(1),
            account: AccountId(1),
            name: name.to_owned(),
            uid_validity: UidValidity(1),
            uid_next: Uid(1),
            highest_modseq: ModSeq(1),
            exists: 0,
            unseen: 0,
            deleted: 0,
            size: 0,
            recent_from: Uid(1),
            special_use,
            keywords: Vec::new(),
        }
    }

    fn names() -> Names {
        let mailboxes = vec![
            mailbox("INBOX", None),
            mailbox("Sent", Some(SpecialUse::Sent)),
            mailbox("a", None),
            mailbox("a b", None),
            mailbox("a/b", None),
            mailbox("a/b/c", None),
        ];
        let subscriptions = ["INBOX", "a/b/c", "gone/x"].map(str::to_owned).to_vec();
        Names::new(mailboxes, subscriptions)
    }

    fn listed(kind: ListKind, pattern: &str, select: ListSelect) -> Vec<String> {
        let patterns = vec![Pattern::new(b"", pattern.as_bytes()).unwrap()];
        let list = List { kind, patterns, select, returns: ListReturn::default() };
        let names = names();
        let line = |name: String| {
            let told = names.told(&list, &name)?;
            let attributes: Vec<&str> = told.attributes.iter().map(|a| a.name()).collect();
            Some(format!("({}) {name}{}", attributes.join(" "), if told.child_info { " +" } else { "" }))
        };
        names.candidates(&list).into_iter().filter_map(line).collect()
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
