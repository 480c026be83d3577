//! Accounts over a real store: logins, the throttle under a simulated clock, sessions that end, aliases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use pigeon::accounts::{Accounts, Error, Login, LoginError, MAILBOXES, Recipient};
use pigeon::base::{Budget, Clock, Secret, Simulated, Workers};
use pigeon::mail::Address;
use pigeon::store::{AccountId, Options, Store};
use smol::{Timer, future};
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const HOME: [u8; 4] = [192, 0, 2, 7];

struct World {
    accounts: Accounts,
    store: Store,
    hand: Arc<Simulated>,
    _data: TempDir,
}

/// example.org with alice and bob.
fn world<T>(test: impl AsyncFnOnce(&World) -> T) -> T {
    smol::block_on(async {
        let (clock, hand) = Clock::simulated(1_773_480_413);
        let data = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes: 1 << 20,
            index_cache_bytes: 1 << 20,
            gather: Duration::from_millis(3),
            ..Options::default()
        };
        let workers = Workers::new("reader", 2, 1 << 20).unwrap();
        let store = Store::open(data.path(), options, clock.clone(), workers, Budget::new(16 << 20)).unwrap();
        let accounts = Accounts::new(store.clone(), clock).unwrap();
        accounts.account_add("alice@example.org", &secret("wonderland-7")).await.unwrap();
        accounts.account_add("bob@example.org", &secret("builder-22")).await.unwrap();
        let world = World { accounts, store, hand, _data: data };
        let outcome = test(&world).await;
        world.store.close();
        outcome
    })
}

impl World {
    async fn login(&self, name: &str, password: &str, peer: impl Into<IpAddr>) -> Result<Login, LoginError> {
        self.accounts.login(name.as_bytes(), &secret(password), peer.into()).await
    }

    async fn id(&self, address: &str) -> AccountId {
        self.accounts.account(address).await.unwrap().id
    }

    async fn resolve(&self, address: &str) -> Recipient {
        self.accounts.resolve(&Address::parse(address.as_bytes()).unwrap()).await.unwrap()
    }
}

#[test]
fn the_right_password_logs_in_under_every_spelling_of_the_name() {
    world(async |world| {
        let alice = world.id("alice@example.org").await;
        for name in ["alice@example.org", "ALICE@Example.Org", "alice", "Alice"] {
            let login = world.login(name, "wonderland-7", HOME).await.unwrap();
            assert_eq!((login.id, login.address.as_str()), (alice, "alice@example.org"), "{name}");
        }
        // The local part alone, as long as one domain has it.
        world.accounts.account_add("alice@example.com", &secret("other-alice-1")).await.unwrap();
        assert_eq!(world.login("alice", "wonderland-7", [192, 0, 2, 8]).await.err(), Some(LoginError::Wrong));
        assert!(world.login("alice@example.com", "other-alice-1", [192, 0, 2, 9]).await.is_ok());
    });
}

#[test]
fn what_is_wrong_is_refused_and_nothing_tells_which_part() {
    world(async |world| {
        world.accounts.alias_add("team@example.org", &["alice@example.org"]).await.unwrap();
        let rows = [
            ("alice@example.org", "wonderland-8", "wrong password"),
            ("alice@example.org", "WONDERLAND-7", "passwords have case"),
            ("alice@example.org", "wonderland-7\0", "NUL"),
            ("alice@example.org", "", "no password"),
            ("nobody@example.org", "wonderland-7", "no such account"),
            ("alice@example.net", "wonderland-7", "no such domain"),
            ("team@example.org", "wonderland-7", "an alias"),
            ("alice+tag@example.org", "wonderland-7", "a tag"),
            ("", "wonderland-7", "no name"),
            ("@", "wonderland-7", "no name at all"),
            ("alice@example.org\0", "wonderland-7", "NUL in the name"),
        ];
        for (at, (name, password, why)) in rows.iter().enumerate() {
            let peer = [198, 51, 100, at as u8]; // each its own, so that none is slowed
            assert_eq!(world.login(name, password, peer).await.err(), Some(LoginError::Wrong), "{why}");
        }
        let not_text = world.accounts.login(b"\xff\xfe", &secret("wonderland-7"), HOME.into()).await;
        assert_eq!(not_text.err(), Some(LoginError::Wrong));
    });
}

#[test]
fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    world(async |world| {
        let mut best = [Duration::MAX; 2];
        for round in 0..6u8 {
            for (which, name) in ["alice@example.org", "nobody@example.org"].into_iter().enumerate() {
                let started = Instant::now();
                let refused = world.login(name, "wrong", [10, 0, round, which as u8]).await;
                assert_eq!(refused.err(), Some(LoginError::Wrong));
                best[which] = best[which].min(started.elapsed());
            }
        }
        let [known, unknown] = best.map(|time| time.as_secs_f64());
        assert!((0.5..2.0).contains(&(unknown / known)), "known {known} s, unknown {unknown} s");
    });
}

#[test]
fn the_second_failure_of_a_pair_is_answered_later() {
    world(async |world| {
        let wrong = || world.login("alice", "wrong", HOME);
        assert_eq!(wrong().await.err(), Some(LoginError::Wrong), "the first one without any time passing");
        let mut second = pin!(wrong());
        assert!(within(Duration::from_millis(400), &mut second).await.is_none(), "the second one waits");
        world.hand.advance(Duration::from_secs(3));
        assert_eq!(second.await.err(), Some(LoginError::Wrong));
        // Another account at the same address, and the same account elsewhere, are not slowed.
        assert!(world.login("bob", "builder-22", HOME).await.is_ok());
        assert!(world.login("alice", "wonderland-7", [192, 0, 2, 8]).await.is_ok());
    });
}

#[test]
fn after_thirty_failures_the_right_password_waits_three_seconds_at_most() {
    world(async |world| {
        for _ in 0..30 {
            let mut wrong = pin!(world.login("alice", "wrong", HOME));
            let refused = loop {
                match within(Duration::from_millis(20), &mut wrong).await {
                    Some(outcome) => break outcome,
                    None => world.hand.advance(Duration::from_secs(3)),
                }
            };
            assert_eq!(refused.err(), Some(LoginError::Wrong));
        }
        let mut right = pin!(world.login("alice", "wonderland-7", HOME));
        assert!(within(Duration::from_millis(400), &mut right).await.is_none());
        world.hand.advance(Duration::from_secs(3));
        assert!(right.await.is_ok());
        assert!(world.login("alice", "wonderland-7", HOME).await.is_ok(), "and then not at all");
    });
}

#[test]
fn guessing_on_many_connections_at_once_gains_nothing() {
    world(async |world| {
        let answered = std::cell::Cell::new(0);
        let guesses: Vec<_> = (0..20)
            .map(|n| {
                let answered = &answered;
                async move {
                    world.login("alice", &format!("guess {n}"), HOME).await.unwrap_err();
                    answered.set(answered.get() + 1);
                }
            })
            .collect();
        let mut all = pin!(join(guesses));
        assert!(within(Duration::from_millis(1_500), &mut all).await.is_none());
        assert!(answered.get() <= 1, "{} answers while no time passed", answered.get());
    });
}

#[test]
fn an_address_is_slowed_after_twenty_failures_but_not_for_who_is_known() {
    world(async |world| {
        world.login("bob", "builder-22", HOME).await.unwrap();
        for n in 0..20 {
            assert!(world.login(&format!("guess{n}@example.org"), "wrong", HOME).await.is_err());
        }
        let mut stranger = pin!(world.login("alice", "wonderland-7", HOME));
        assert!(within(Duration::from_millis(400), &mut stranger).await.is_none());
        assert!(world.login("bob", "builder-22", HOME).await.is_ok(), "checked a moment ago, so without any delay");
        world.hand.advance(Duration::from_secs(3));
        assert!(stranger.await.is_ok());
    });
}

#[test]
fn a_new_password_ends_sessions_and_what_was_remembered() {
    world(async |world| {
        let (phone, laptop) =
            (world.login("alice", "wonderland-7", HOME).await, world.login("bob", "builder-22", HOME).await);
        let (phone, laptop) = (phone.unwrap(), laptop.unwrap());
        world.accounts.set_password("Alice@example.org", &secret("looking-glass-8")).await.unwrap();
        assert!(phone.ended.is_given());
        assert!(!laptop.ended.is_given(), "another account's session goes on");
        assert_eq!(world.login("alice", "wonderland-7", HOME).await.err(), Some(LoginError::Wrong));
        let anew = world.login("alice", "looking-glass-8", [192, 0, 2, 8]).await.unwrap();
        assert!(!anew.ended.is_given());
    });
}

#[test]
fn a_removed_account_ends_its_sessions_and_lets_nobody_in() {
    world(async |world| {
        let phone = world.login("alice", "wonderland-7", HOME).await.unwrap();
        world.accounts.account_remove("alice@example.org").await.unwrap();
        assert!(phone.ended.is_given());
        assert_eq!(world.login("alice@example.org", "wonderland-7", HOME).await.err(), Some(LoginError::Wrong));
        assert_eq!(world.resolve("alice@example.org").await, Recipient::NoSuchUser);
    });
}

#[test]
fn a_new_account_has_its_folders_subscribed_and_with_their_uses() {
    world(async |world| {
        let alice = world.id("alice@example.org").await;
        let mut folders: Vec<_> = world.store.mailboxes(alice).await.unwrap();
        folders.sort_by_key(|folder| MAILBOXES.iter().position(|(name, _)| *name == folder.name));
        let found: Vec<_> = folders.iter().map(|folder| (folder.name.as_str(), folder.special_use)).collect();
        assert_eq!(found, MAILBOXES);
        let mut subscribed = world.store.subscriptions(alice).await.unwrap();
        subscribed.sort();
        assert_eq!(subscribed, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    });
}

#[test]
fn mail_finds_its_accounts() {
    world(async |world| {
        let (alice, bob) = (world.id("alice@example.org").await, world.id("bob@example.org").await);
        let add = async |alias: &str, targets: &[&str]| world.accounts.alias_add(alias, targets).await.unwrap();
        add("team@example.org", &["alice@example.org", "bob@example.org", "ALICE@example.org"]).await;
        add("all@example.org", &["team@example.org", "alice@example.org"]).await;
        add("sales@example.com", &["bob@example.org"]).await;
        add("@example.com", &["alice@example.org"]).await;
        add("tagged@example.org", &["bob+work@example.org"]).await;
        let local = |accounts: &[AccountId]| Recipient::Local(accounts.to_vec());
        let rows = [
            ("alice@example.org", local(&[alice]), "an account"),
            ("Alice@EXAMPLE.org", local(&[alice]), "case"),
            ("alice+shop@example.org", local(&[alice]), "plus-addressing"),
            ("team@example.org", local(&[alice, bob]), "an alias, a target named twice"),
            ("team+x@example.org", local(&[alice, bob]), "a tag on an alias"),
            ("all@example.org", local(&[alice, bob]), "an alias of an alias"),
            ("tagged@example.org", local(&[bob]), "a target with a tag"),
            ("sales@example.com", local(&[bob]), "another domain"),
            ("anything@example.com", local(&[alice]), "the catch-all"),
            ("postmaster@example.org", local(&[alice]), "RFC 5321 4.5.1: the first account"),
            ("PostMaster@example.org", local(&[alice]), "whatever its case"),
            ("postmaster@example.com", local(&[alice]), "the catch-all gets it where there is one"),
            ("nobody@example.org", Recipient::NoSuchUser, "nobody"),
            ("nobody+alice@example.org", Recipient::NoSuchUser, "a tag of nobody"),
            ("+alice@example.org", Recipient::NoSuchUser, "a tag alone"),
            ("alice@example.net", Recipient::NotLocal, "not served"),
            ("alice@sub.example.org", Recipient::NotLocal, "not served either"),
            ("alice@[192.0.2.1]", Recipient::NotLocal, "an address literal"),
        ];
        for (address, expected, why) in rows {
            assert_eq!(world.resolve(address).await, expected, "{why}");
        }
        assert_eq!(world.accounts.postmaster().await, Ok(local(&[alice])), "without a domain");
        add("postmaster@example.org", &["bob@example.org"]).await;
        assert_eq!(world.resolve("postmaster@example.org").await, local(&[bob]), "an alias says otherwise");
        assert_eq!(world.accounts.postmaster().await, Ok(local(&[bob])));
    });
}

#[test]
fn circles_and_long_chains_of_aliases_end() {
    world(async |world| {
        let alice = world.id("alice@example.org").await;
        let accounts = &world.accounts;
        accounts.alias_add("b@example.org", &["alice@example.org"]).await.unwrap();
        accounts.alias_add("a@example.org", &["b@example.org", "alice@example.org"]).await.unwrap();
        accounts.alias_remove("b@example.org").await.unwrap();
        accounts.alias_add("b@example.org", &["a@example.org"]).await.unwrap();
        assert_eq!(world.resolve("b@example.org").await, Recipient::Local(vec![alice]), "a and b point at each other");
        accounts.alias_add("n0@example.org", &["alice@example.org"]).await.unwrap();
        for n in 1..10 {
            let (alias, target) = (format!("n{n}@example.org"), format!("n{}@example.org", n - 1));
            accounts.alias_add(&alias, &[target]).await.unwrap();
        }
        assert_eq!(world.resolve("n9@example.org").await, Recipient::Local(vec![alice]), "ten aliases deep");
    });
}

#[test]
fn people_send_as_the_addresses_whose_mail_they_get() {
    world(async |world| {
        let (alice, bob) = (world.id("alice@example.org").await, world.id("bob@example.org").await);
        world.accounts.alias_add("sales@example.org", &["bob@example.org"]).await.unwrap();
        let rows = [
            (alice, "alice@example.org", true),
            (alice, "ALICE+x@example.org", true),
            (alice, "bob@example.org", false),
            (alice, "sales@example.org", false),
            (bob, "sales@example.org", true),
            (bob, "bob@example.net", false),
            (bob, "nobody@example.org", false),
        ];
        for (id, address, expected) in rows {
            let address = Address::parse(address.as_bytes()).unwrap();
            assert_eq!(world.accounts.may_send_as(id, &address).await, Ok(expected), "{address}");
        }
    });
}

#[test]
fn mistakes_of_the_operator_are_named() {
    world(async |world| {
        let accounts = &world.accounts;
        let good = secret("long-enough-9");
        let said = |error: Error| error.to_string();
        let add = async |address: &str, password: &Secret| accounts.account_add(address, password).await.map_err(said);
        let alias = async |address: &str, targets: &[&str]| accounts.alias_add(address, targets).await.map_err(said);
        accounts.alias_add("team@example.org", &["alice@example.org"]).await.unwrap();
        let rows = [
            (add("alice@example.org", &good).await.err(), "the account alice@example.org exists already"),
            (add("team@example.org", &good).await.err(), "the alias team@example.org exists already"),
            (
                add("alice", &good).await.err(),
                "\"alice\" is no address for an account or alias: write it as name@domain",
            ),
            (add("carol@example.org", &secret("")).await.err(), "the password must not be empty"),
            (
                alias("alice@example.org", &["bob@example.org"]).await.err(),
                "the account alice@example.org exists already",
            ),
            (alias("team@example.org", &["bob@example.org"]).await.err(), "the alias team@example.org exists already"),
            (alias("x@example.org", &[]).await.err(), "an alias needs 1 to 1000 targets, each an address here"),
            (
                alias("x@example.org", &["who@example.net"]).await.err(),
                "there is no account or alias who@example.net: an alias leads to addresses of this server only",
            ),
            (
                accounts.account_remove("carol@example.org").await.map_err(said).err(),
                "there is no account carol@example.org",
            ),
            (accounts.alias_remove("x@example.org").await.map_err(said).err(), "there is no alias x@example.org"),
            (accounts.domain_remove("example.net").await.map_err(said).err(), "there is no domain example.net"),
            (
                accounts.domain_remove("example.org").await.map_err(said).err(),
                "example.org still has accounts or aliases: remove them first",
            ),
            (accounts.domain_add("example.org").await.map_err(said).err(), "the domain example.org exists already"),
            (
                accounts.domain_add("exa mple").await.map_err(said).err(),
                "\"exa mple\" is no domain: a domain has letters, digits, hyphens and dots only",
            ),
        ];
        for (error, expected) in rows {
            assert_eq!(error.as_deref(), Some(expected));
        }
        accounts.domain_add("Example.NET").await.unwrap();
        assert_eq!(accounts.domains().await.unwrap(), ["example.net", "example.org"]);
    });
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

/// The outcome of `work` if it comes within so much real time; it goes on otherwise.
async fn within<T>(time: Duration, work: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    future::or(async { Some(work.await) }, async {
        Timer::after(time).await;
        None
    })
    .await
}

async fn join(work: Vec<impl Future<Output = ()>>) {
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = work.into_iter().map(|work| executor.spawn(work)).collect();
    executor
        .run(async {
            for task in tasks {
                task.await;
            }
        })
        .await;
}
