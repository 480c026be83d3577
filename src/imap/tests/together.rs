//! Many sessions at once, and octets at random: what every client believes must be true in the end, and nothing may break.

use super::*;
use crate::store::sim::Dice;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::BTreeSet;

fn roll(dice: &mut Dice, sides: usize) -> usize {
    dice.roll(sides as u64) as usize
}

/// A client that believes what it is told: the flags of each message, by number; `None` while it does not know them.
struct Believer {
    client: Client,
    messages: Vec<Option<BTreeSet<String>>>,
}

impl Believer {
    async fn new(world: &World) -> Self {
        let mut client = world.alice().await;
        let lines = client.ok("SELECT INBOX").await;
        let mut believer = Self { client, messages: Vec::new() };
        believer.hear(&lines);
        believer
    }

    fn hear(&mut self, lines: &[String]) {
        for line in lines {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let number = || words[1].parse::<usize>().unwrap();
            match words[..] {
                ["*", _, "EXISTS"] => {
                    assert!(number() >= self.messages.len(), "RFC 3501 7.3.1: only EXPUNGE takes away: {line}");
                    self.messages.resize(number(), None);
                }
                ["*", _, "EXPUNGE"] => drop(self.messages.remove(number() - 1)),
                ["*", _, "FETCH", rest] => {
                    let Some(at) = rest.find("FLAGS (") else { continue };
                    let flags = rest[at + 7..].split(')').next().unwrap().split(' ');
                    let flags = flags.filter(|flag| !flag.is_empty() && *flag != "\\Recent").map(str::to_owned);
                    self.messages[number() - 1] = Some(flags.collect());
                }
                _ => {}
            }
        }
    }

    /// Starts a command without waiting for its reply.
    async fn start(&mut self, dice: &mut Dice) -> String {
        self.client.tags += 1;
        let tag = format!("t{}", self.client.tags);
        let number = roll(dice, self.messages.len().max(1)) + 1;
        let flag = ["\\Seen", "\\Flagged", "\\Deleted", "one", "two"][roll(dice, 5)];
        let sign = ["+", "-", ""][roll(dice, 3)];
        let command = match roll(dice, 12) {
            0 | 1 => format!("APPEND INBOX ({flag}) {{24+}}\r\n{}", std::str::from_utf8(SHORT).unwrap()),
            2 | 3 if !self.messages.is_empty() => format!("STORE {number} {sign}FLAGS ({flag})"),
            4 if !self.messages.is_empty() => format!("STORE {number} +FLAGS.SILENT ({flag})"),
            5 => format!("UID STORE {number}:* {sign}FLAGS ({flag})"),
            6 => "EXPUNGE".to_owned(),
            7 => format!("UID MOVE {number} Archive"),
            8 => format!("UID COPY {number}:{} INBOX", number + 2),
            9 => "SEARCH UNSEEN".to_owned(),
            10 => "UID FETCH 1:* FLAGS".to_owned(),
            _ => "NOOP".to_owned(),
        };
        if command.contains(".SILENT") {
            // What it did itself it knows, if it knew the flags before.
            if let Some(flags) = &mut self.messages[number - 1] {
                flags.insert(flag.to_owned());
            }
        }
        self.client.send(format!("{tag} {command}\r\n").as_bytes()).await;
        tag
    }

    async fn finish(&mut self, tag: &str) {
        let (untagged, reply) = self.client.tagged(tag).await;
        assert!(reply.starts_with("OK") || reply.starts_with("NO [EXPUNGEISSUED]"), "{reply}");
        self.hear(&lines(&untagged));
    }
}

#[test]
fn clients_that_believe_what_they_are_told_agree_in_the_end() {
    World::run(|world| async move {
        let mut dice = Dice(7);
        let mut believers = Vec::new();
        for _ in 0..3 {
            believers.push(Believer::new(&world).await);
        }
        for _ in 0..250 {
            // All at once, so that their changes fall between each other's steps.
            let mut tags = Vec::new();
            for believer in &mut believers {
                tags.push(believer.start(&mut dice).await);
            }
            for (believer, tag) in believers.iter_mut().zip(tags) {
                believer.finish(&tag).await;
            }
        }
        for believer in &mut believers {
            let lines = believer.client.ok("NOOP").await;
            believer.hear(&lines);
        }
        let mut truth = Believer::new(&world).await;
        let lines = truth.client.ok("UID FETCH 1:* FLAGS").await;
        truth.hear(&lines);
        assert!(!truth.messages.is_empty());
        for believer in &believers {
            assert_eq!(believer.messages.len(), truth.messages.len());
            for (believed, flags) in believer.messages.iter().zip(&truth.messages) {
                assert!(believed.is_none() || believed == flags, "{believed:?} is {flags:?}");
            }
        }
    });
}

/// Words of the grammar and things that are none.
fn shred() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "a ",
        "UID ",
        "FETCH ",
        "STORE ",
        "SEARCH ",
        "COPY ",
        "MOVE ",
        "SELECT ",
        "INBOX",
        "LIST ",
        "\"\" ",
        "*",
        "1:*",
        "APPEND ",
        "{3}",
        "{3+}",
        "{99999999}",
        "\r\n",
        "\r\n",
        "\n",
        "(",
        ")",
        "BODY[",
        "]",
        "<0.10>",
        "HEADER.FIELDS ",
        "FLAGS ",
        "\\Seen",
        "NOT ",
        "OR ",
        "CHARSET ",
        "UTF-8 ",
        "IDLE",
        "DONE",
        "LOGOUT",
        "\"",
        "\\",
        "NIL",
        "STATUS ",
        "MODSEQ ",
        "AUTHENTICATE PLAIN",
        "=",
        "STARTTLS",
        "CLOSE",
        "EXPUNGE",
        "RENAME ",
        "CREATE ",
        "0",
        "4294967296",
        "&",
        "%",
        "~{2+}",
    ]);
    prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

#[test]
fn octets_at_random_break_nothing() {
    World::run(|world| async move {
        let mut alice = world.alice().await;
        alice.append("INBOX", SHORT).await;
        drop(alice);
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let strategy = (any::<bool>(), prop::collection::vec(shred(), 1..60));
        for _ in 0..150 {
            let (is_stranger, pieces) = strategy.new_tree(&mut runner).unwrap().current();
            let mut client = if is_stranger { world.connect(LOOPBACK) } else { world.inbox().await };
            client.send(&pieces.concat()).await;
            client.send(b"\r\n\r\n\r\n").await;
            // The client hears what comes for a while, and goes away in the middle of whatever it was.
            for _ in 0..6 {
                smol::Timer::after(Duration::from_millis(3)).await;
                let mut heard = [0; 4096];
                drop(smol::future::poll_once(client.end.read(&mut heard)).await);
            }
        }
        for _ in 0..1_000 {
            if world.wires.budget.spent() == 0 {
                break;
            }
            smol::Timer::after(Duration::from_millis(5)).await;
        }
        assert_eq!(world.wires.budget.spent(), 0, "every session has ended and given everything back");
        // The next client is served.
        world.inbox().await.ok("NOOP").await;
    });
}
