"""kill -9 in the middle of mail coming and going: what was acknowledged is there, once, under the UID it had, and what was
acknowledged as expunged does not come back.

python -m clients.kill RESULTS.json [rounds]
"""

import collections
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import compare, mails, wire
from harness.report import Report
from harness.server import Server

ROUNDS = 52
USERS = 3
SENDER = "sender@example.net"
GREETING_S_BUDGET = 0.2  # DESIGN section 2, the start row; times are held to ten times their budget
SIZES = (900, 2000, 2000, 2000, 20_000, 300_000)


class Stream(threading.Thread):
    """One connection that delivers until the server dies; keeps what was acknowledged."""

    def __init__(self, server, users, number, round_number, by_append):
        super().__init__()
        self.server, self.users, self.number, self.round, self.by_append = (
            server,
            users,
            number,
            round_number,
            by_append,
        )
        self.tried, self.acknowledged = {}, {}

    def run(self):
        """Unique Message-IDs, one to three recipients; an APPEND stream has one mailbox."""
        dice = random.Random(self.round * 100 + self.number)
        try:
            client = wire.Imap(self.server, user=self.users[0]) if self.by_append else wire.Smtp(self.server)
            count = 0
            while True:
                count += 1
                name = f"r{self.round}.c{self.number}.n{count}@kill.example"
                octets = mails.typical(count, dice.choice(SIZES), message_id=name)
                users = self.users[:1] if self.by_append else dice.sample(self.users, dice.randint(1, len(self.users)))
                for user in users:
                    self.tried[user, name] = octets
                if self.by_append:
                    client.append("INBOX", octets)
                else:
                    client.deliver(users, octets, SENDER)
                for user in users:
                    self.acknowledged[user, name] = octets
        except (OSError, wire.Refused, ValueError):
            pass  # the server was killed; what was not acknowledged may be there or not


class Programs(threading.Thread):
    """curl, by SMTP and by APPEND in turn, until the server dies."""

    def __init__(self, server, users, round_number):
        super().__init__()
        self.server, self.users, self.round = server, users, round_number
        self.tried, self.acknowledged = {}, {}

    def run(self):
        """One program for each message; its exit code is the acknowledgement."""
        dice = random.Random(self.round * 100 + 77)
        with tempfile.TemporaryDirectory() as folder:
            mail = Path(folder) / "mail"
            for count in range(1, 1000):
                name = f"r{self.round}.curl.n{count}@kill.example"
                octets = mails.typical(count, dice.choice(SIZES), message_id=name)
                mail.write_bytes(octets)
                user = dice.choice(self.users)
                words = ["curl", "-sS", "--max-time", "20", "-T", mail]
                if count % 2:
                    words += ["--mail-from", SENDER, "--mail-rcpt", user]
                    words += [f"smtp://{self.server.host}:{self.server.ports['smtp']}/client.example.net"]
                else:
                    words += ["--cacert", self.server.ca, "-u", f"{user}:{self.server.passwords[user]}"]
                    words += [f"imaps://{self.server.host}:{self.server.ports['imaps']}/INBOX"]
                self.tried[user, name] = octets
                if subprocess.run([str(word) for word in words], capture_output=True, check=False).returncode != 0:
                    return  # the server was killed
                self.acknowledged[user, name] = octets


class Taker(threading.Thread):
    """One connection that expunges what was there before this round until the server dies."""

    def __init__(self, server, user, there, round_number):
        super().__init__()
        self.server, self.user, self.there, self.round = server, user, there, round_number
        self.tried, self.acknowledged = set(), set()

    def run(self):
        """One message after another."""
        uids = random.Random(self.round).sample(sorted(self.there), min(len(self.there), 20))
        try:
            client = wire.Imap(self.server, user=self.user)
            client.command("SELECT INBOX")
            for uid in uids:
                self.tried.add(self.there[uid])
                client.command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
                client.command(f"UID EXPUNGE {uid}")
                self.acknowledged.add(self.there[uid])
        except (OSError, wire.Refused, ValueError):
            pass  # the server was killed


class Reader(threading.Thread):
    """One connection that flags, copies and moves what was there before this round until the server dies."""

    def __init__(self, server, user, there, round_number):
        super().__init__()
        self.server, self.user, self.there, self.round = server, user, there, round_number
        self.flagged, self.copied, self.moved, self.tried_moves = set(), [], set(), set()

    def run(self):
        """One message after another, each of the three in turn; what was answered counts."""
        uids = random.Random(self.round + 5000).sample(sorted(self.there), min(len(self.there), 30))
        try:
            client = wire.Imap(self.server, user=self.user)
            client.command("SELECT INBOX")
            for place, uid in enumerate(uids):
                name = self.there[uid]
                match place % 3:
                    case 0:
                        client.command(f"UID STORE {uid} +FLAGS.SILENT (\\Flagged $Kept)")
                        self.flagged.add(name)
                    case 1:
                        client.command(f'UID COPY {uid} "Copies"')
                        self.copied.append(name)
                    case 2:
                        self.tried_moves.add(name)
                        client.command(f'UID MOVE {uid} "Moved"')
                        self.moved.add(name)
        except (OSError, wire.Refused, ValueError):
            pass  # the server was killed


class Fetcher(Taker):
    """The same by POP3, one session after another."""

    def run(self):
        """QUIT's answer is what acknowledges (RFC 1939 section 6)."""
        dice = random.Random(self.round + 9000)
        try:
            for _ in range(50):
                client = wire.Pop3(self.server, user=self.user)
                uidl = dict(line.split() for line in client.many("UIDL").decode().splitlines())
                names = {number: self.there.get(int(uid[8:], 16)) for number, uid in uidl.items()}
                chosen = dice.sample([number for number, name in names.items() if name], min(2, len(names)))
                for number in chosen:
                    self.tried.add(names[number])
                    client.one(f"DELE {number}")
                client.quit()
                self.acknowledged |= {names[number] for number in chosen}
        except (OSError, wire.Refused, ValueError):
            pass  # the server was killed


def inbox(server, user, mailbox="INBOX", search=None):
    """UIDVALIDITY and (uid, message id) of everything in an INBOX."""
    client = wire.Imap(server, user=user)
    words = b" ".join(response[0] for response in client.command(f'SELECT "{mailbox}"'))
    validity = int(re.search(rb"UIDVALIDITY (\d+)", words)[1])
    found = []
    if b"* 0 EXISTS" not in words:
        for uid, octets in client.bodies("BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"):
            found.append((uid, re.search(rb"<([^>]*)>", octets)[1].decode()))
    if search:
        hits = b" ".join(response[0] for response in client.command(f"UID SEARCH {search}") if b"SEARCH" in response[0])
        uids = {int(word) for word in hits.split() if word.isdigit()}
        found = [(uid, name) for uid, name in found if uid in uids]
    client.logout()
    return validity, found


def changed(report, label, server, reader, before):
    """What a reader was answered is so: flags set, copies and moved ones there, the latter nowhere else."""
    user, number = reader.user, reader.round
    flagged = {name for _, name in inbox(server, user, search="FLAGGED KEYWORD $Kept")[1]}
    here = {name for _, name in inbox(server, user)[1]}
    lost = sorted((reader.flagged & here) - flagged)
    report.check(label, f"round {number} {user}: flags stay", not lost, f"lost {lost[:5]}")
    copies = collections.Counter(name for _, name in inbox(server, user, "Copies")[1])
    missing = [name for name, times in before["copied"].items() if not times <= copies[name] <= times + 1]
    report.check(label, f"round {number} {user}: copies are there", not missing, f"missing {missing[:5]}")
    before["copied"] = copies
    moved = collections.Counter(name for _, name in inbox(server, user, "Moved")[1])
    gone = sorted(before["moved"] - set(moved))
    twice = sorted(name for name, times in moved.items() if times > 1 or name in here)
    report.check(
        label, f"round {number} {user}: moved ones are there, once", not gone and not twice, f"{gone[:5]} {twice[:5]}"
    )
    before["moved"] = set(moved)


def rounds(report, count):
    """The test itself."""
    label = "kill -9"
    with Server() as server:
        server.start()
        users = [server.add_user(f"kill{number}") for number in range(USERS)]
        acknowledged, tried, greetings = {}, {}, []
        taken, maybe_taken = collections.defaultdict(set), collections.defaultdict(set)
        known = {user: {} for user in users}
        highest, counts = dict.fromkeys(users, 0), collections.Counter()
        validities = {user: inbox(server, user)[0] for user in users}
        placed = {user: {"copied": collections.Counter(), "moved": set()} for user in users}
        for user in users:
            client = wire.Imap(server, user=user)
            client.command('CREATE "Copies"')
            client.command('CREATE "Moved"')
            client.logout()
        for number in range(1, count + 1):
            streams = [Stream(server, users, place, number, by_append=place == 4) for place in range(5)]
            if shutil.which("curl"):
                streams.append(Programs(server, users, number))
            owner = users[number % USERS]
            taker = Taker(server, owner, known[owner], number)
            reader = Reader(server, users[(number + 1) % USERS], known[users[(number + 1) % USERS]], number)
            fetcher = Fetcher(server, users[(number + 2) % USERS], known[users[(number + 2) % USERS]], number)
            for thread in [*streams, taker, reader, fetcher]:
                thread.start()
            time.sleep(random.Random(number).uniform(0.02, 0.5))
            server.kill()
            for stream in streams:
                stream.join(30)
                acknowledged |= stream.acknowledged
                tried |= stream.tried
            taker.join(30)
            taken[owner] |= taker.acknowledged
            maybe_taken[owner] |= taker.tried
            reader.join(30)
            taken[reader.user] |= reader.moved
            maybe_taken[reader.user] |= reader.tried_moves
            placed[reader.user]["moved"] |= reader.moved
            placed[reader.user]["copied"].update(reader.copied)
            fetcher.join(30)
            taken[fetcher.user] |= fetcher.acknowledged
            maybe_taken[fetcher.user] |= fetcher.tried
            server.start()
            greetings.append(server.first_greeting_s)
            changed(report, label, server, reader, placed[reader.user])
            counts["flags"] += len(reader.flagged)
            counts["copies"] += len(reader.copied)
            counts["moves"] += len(reader.moved)
            counts["by POP3"] += len(fetcher.acknowledged)
            for user in users:
                validity, found = inbox(server, user)
                names = [name for _, name in found]
                wanted = {name for whose, name in acknowledged if whose == user} - maybe_taken[user]
                report.check(
                    label,
                    f"round {number} {user}: acknowledged and there",
                    wanted <= set(names),
                    f"lost {sorted(wanted - set(names))[:5]}",
                )
                back = sorted(taken[user] & set(names))
                report.check(label, f"round {number} {user}: what was expunged stays so", not back, f"back {back[:5]}")
                twice = sorted(name for name, times in collections.Counter(names).items() if times > 1)
                report.check(label, f"round {number} {user}: each once", not twice, f"twice {twice[:5]}")
                unknown = [name for name in names if (user, name) not in tried]
                report.check(label, f"round {number} {user}: nothing else", not unknown, f"never sent {unknown[:5]}")
                now = {uid: name for uid, name in found}
                stays = {uid: name for uid, name in known[user].items() if name not in maybe_taken[user] or uid in now}
                moved = [uid for uid, name in stays.items() if now.get(uid) != name]
                report.check(
                    label,
                    f"round {number} {user}: UIDs stay",
                    not moved and validity == validities[user],
                    f"changed {moved[:5]}",
                )
                highest[user] = max(highest[user], max(known[user], default=0))
                reused = [uid for uid in now if uid not in known[user] and uid <= highest[user]]
                report.check(label, f"round {number} {user}: no UID reused", not reused, f"reused {reused[:5]}")
                known[user] = now
        for user in users:
            _bodies(report, label, server, user, tried)
        report.messages(label, len(acknowledged))
        worst = max(greetings)
        print(
            f"  {count} rounds, {len(acknowledged)} acknowledged, {sum(map(len, taken.values()))} expunged or moved, "
            f"{counts['flags']} flagged, {counts['copies']} copied, {counts['moves']} moved, {counts['by POP3']} deleted by POP3"
        )
        for what in ("flags", "copies", "moves", "by POP3"):
            report.check(label, f"some were acknowledged: {what}", counts[what] > 0)
        print(
            f"  first greeting after kill -9: median "
            f"{sorted(greetings)[len(greetings) // 2] * 1000:.0f} ms, worst {worst * 1000:.0f} ms (budget "
            f"{GREETING_S_BUDGET * 1000:.0f} ms)"
        )
        report.check(
            label, "first greeting within ten times its budget", worst <= 10 * GREETING_S_BUDGET, f"{worst:.2f} s"
        )
        server.stop()


def _bodies(report, label, server, user, tried):
    """Every message that is there has the octets that were sent."""
    client = wire.Imap(server, user=user)
    if client.select():
        for uid, stored in client.bodies():
            name = re.search(rb"Message-ID: <([^>]*)>", stored)[1].decode()
            octets = tried[user, name]
            body = stored if stored == octets else compare.without_trace(stored, SENDER)
            why = compare.difference(octets, body)
            report.check(label, f"{user} UID {uid} {name}", why is None, why)
    client.logout()


if __name__ == "__main__":
    result = Report()
    result.guarded("kill -9", rounds, result, int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
    sys.exit(result.end(Path(sys.argv[1])))
