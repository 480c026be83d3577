"""Measures and prints one table: the budgets of DESIGN section 2, Pigeon's figures, and a peer's beside them.

    python -m bench [--peer postfix-dovecot|dovecot] [--quick]

CPU, octets, flushes, memory and system calls are robust on a shared machine; times are for orientation.
"""

import argparse
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from budgets.load import SENDERS, Load
from harness import mails, procfs, wire
from harness.server import binary

from bench.ground import Group, Volume
from bench.peers import USERS, Dovecot, Pigeon

REST_S = 3.5  # before memory is read
IDLERS = 50
MANY_IDLERS = 500
FIRST = 10  # connections before those whose cost is averaged: what is taken once is no connection's
SMALL = 2000
FEW, WIDE = 1_000, 100_000  # messages of two mailboxes, of which the larger should cost no more
MIX = ((62, 2_000), (90, 20_000), (99.5, 200_000), (100, 10_000_000))

# What is measured: its key, its name, its unit, its budget in words.
ROWS = (
    ("size", "on flash: binary, or installed packages", "MiB", "6"),
    ("processes", "processes, started", "", ""),
    ("idle", "memory, started, 10,000 messages, no connection (PSS)", "MiB", "7.5"),
    ("idle_anon", "its anonymous part", "MiB", "2.5"),
    ("fifty", "memory, 50 TLS connections in IDLE (PSS)", "MiB", "8"),
    ("five_hundred", "500 of them", "MiB", "16"),
    ("peak", "peak: ten 25 MB messages at once, 10,000 fetched, logins (PSS)", "MiB", "24"),
    ("plain", "one idle IMAP connection, process and kernel", "KiB", "10"),
    ("tls", "the same under TLS", "KiB", "20"),
    ("calls", "system calls in 10 s, 500 in IDLE", "", "10"),
    ("lone_flushes", "a lonely 2 KiB delivery: flushes", "", "1.1"),
    ("lone_kib", "the same: written", "KiB", "14"),
    ("lone_cpu", "the same: CPU", "ms", ""),
    ("lone_ms", "the same: DATA to 250, median", "ms", ""),
    ("ten_flushes", "one of ten connections delivering: flushes", "", "0.2"),
    ("ten_kib", "the same: written", "KiB", "7"),
    ("ten_rate", "the same: delivered per second", "", ""),
    ("mix", "a mix of sizes: written per octet received", "", "1.15"),
    ("reclaim", "the same one at a time, a third deleted, with reclaim and snapshots", "", "1.5"),
    ("flag_flushes", "one flag change, recent mail: flushes", "", "1.1"),
    ("flag_kib", "the same: written", "KiB", "10"),
    ("wide_flushes", "one flag change, scattered over 100,000 messages: flushes", "", "1.1"),
    ("wide_kib", "the same: written", "KiB", "30"),
    ("deliver_growth", "CPU of a delivery into 100,000 messages, beside 1,000", "x", "1.3"),
    ("flag_growth", "the same of a flag change", "x", "1.3"),
    ("changes_growth", "the same of a CHANGEDSINCE with 20 changes", "x", "1.3"),
    ("exists", "250 to EXISTS in IDLE, median", "ms", "1"),
    ("disk", "disk used per octet of mail, arrived ten at a time", "", "0.9"),
    ("start", "first greeting after kill -9", "ms", "200"),
    ("lost", "acknowledged and lost, over every simulated power cut", "", "0"),
)


def mix_size(number):
    """The sizes of a realistic mix, fixed."""
    place = (number * 7919) % 1000 / 10
    return next(size for upto, size in MIX if place < upto)


class Bench:
    """One server, measured from its start to its end."""

    def __init__(self, make, name, folder, quick):
        self.folder = Path(folder, name)
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.volume = Volume(self.folder / "volume")
        self.group = Group(name)
        self.peer = make(self.folder, self.volume.path, self.group)
        self.quick = quick
        self.figures = {}

    def run(self):
        """All rows; whatever fails is told and the rest goes on."""
        self.peer.start()
        parts = (self.fill, self.memory, self.lone, self.ten, self.mix, self.churn, self.flags, self.exists, self.wide)
        for part in (*parts, self.peak, self.start):
            print(f"{self.peer.name}: {part.__name__}", file=sys.stderr, flush=True)
            try:
                part()
            except (OSError, wire.Refused, RuntimeError, AssertionError) as error:
                print(f"{self.peer.name}: {part.__name__} failed: {error}", file=sys.stderr)
        return self.figures

    def close(self):
        """Ends the server and gives everything back."""
        try:
            if self.group.pids():
                self.peer.stop()
        finally:
            self.group.remove()
            self.volume.close()

    def imap(self, user, tls=False):
        """A connection that is logged in."""
        return wire.Imap(self.peer, port="imaps" if tls else "imap", tls=tls, user=user)

    def fill(self):
        """10,000 messages in a mailbox of the first user."""
        self.filled(USERS[0], "Filled", 2_000 if self.quick else 10_000)

    def filled(self, user, mailbox, count):
        """So many messages: 500 appended, the rest copies."""
        client = self.imap(user)
        client.command(f"CREATE {mailbox}", good=("OK", "NO"))
        for number in range(500):
            client.append(mailbox, mails.typical(number, mails.standing_size(number), user))
        client.select(mailbox)
        for _ in range(count // 500 - 1):
            client.command(f"COPY 1:500 {mailbox}")
        client.logout()

    def memory(self):
        """Started, then with idle connections; system calls meanwhile."""
        self.peer.stop()
        self.peer.start()
        time.sleep(REST_S)
        pss, anonymous = self.group.memory_kib()
        self.figures |= {"idle": pss / 1024, "idle_anon": anonymous / 1024, "processes": len(self.group.pids())}
        for key, tls in (("plain", False), ("tls", True)):
            clients, sums = [], []
            for count in (FIRST, IDLERS, MANY_IDLERS) if tls else (FIRST, IDLERS):
                for number in range(len(clients), count):
                    client = self.imap(USERS[number % len(USERS)], tls)
                    client.select()
                    client.idle()
                    clients.append(client)
                time.sleep(REST_S)
                pss = self.group.memory_kib()[0]
                sums.append(pss + self.group.kernel_kib())
                if tls and count == IDLERS:
                    self.figures["fifty"] = pss / 1024
                if count == MANY_IDLERS:
                    self.figures |= {"five_hundred": pss / 1024, "calls": self.system_calls()}
            self.figures[key] = (sums[1] - sums[0]) / (IDLERS - FIRST)
            for client in clients:
                client.close()
            self.peer.stop()
            self.peer.start()
            time.sleep(REST_S)

    def system_calls(self):
        """Of all processes, in 10 s."""
        pids = [argument for pid in self.group.pids() for argument in ("-p", str(pid))]
        if not shutil.which("strace"):
            return None
        with tempfile.NamedTemporaryFile("r") as output:
            words = ["timeout", "-s", "INT", "10", "strace", "-f", "-c", "-q", "-o", output.name, *pids]
            subprocess.run(words, capture_output=True, check=False)
            total = re.search(r"^\s*100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total", output.read(), re.MULTILINE)
        return int(total[1]) if total else 0

    def inboxes(self, users):
        """Messages in their INBOXes."""
        counts = []
        for user in users:
            client = self.imap(user)
            counts.append(client.status())
            client.logout()
        return sum(counts)

    def delivering(self, messages, connections):
        """Delivers; when all are in their mailboxes: (octets, flushes, CPU ms, seconds, latencies in s)."""
        if not self.peer.has_smtp:
            return None
        users = (USERS[1:] + USERS[:1])[:connections]
        before = self.inboxes(users)
        octets, flushes = self.volume.written()
        cpu, started, latencies = self.group.cpu_ms(), time.perf_counter(), []
        failures = []

        def work(place):
            try:
                client = wire.Smtp(self.peer)
                for message in messages[place::connections]:
                    begun = time.perf_counter()
                    latencies.append(client.deliver([users[place]], message) - begun)
                client.quit()
            except (OSError, wire.Refused) as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(place,)) for place in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise RuntimeError(failures[0])
        while self.inboxes(users) < before + len(messages):
            assert time.perf_counter() - started < 300, "not everything was delivered"
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        cpu = self.group.cpu_ms() - cpu
        octets_after, flushes_after = self.volume.written()
        return octets_after - octets, flushes_after - flushes, cpu, seconds, latencies

    def lone(self):
        """One message after another."""
        count = 50 if self.quick else 200
        done = self.delivering([mails.typical(number, SMALL, USERS[1]) for number in range(count)], 1)
        if done:
            octets, flushes, cpu, _, latencies = done
            median = statistics.median(latencies) * 1000
            self.figures |= {"lone_flushes": flushes / count, "lone_kib": octets / count / 1024}
            self.figures |= {"lone_cpu": cpu / count, "lone_ms": median}

    def ten(self):
        """Ten connections without pause."""
        count = 200 if self.quick else 1000
        done = self.delivering([mails.typical(number, SMALL, USERS[1]) for number in range(count)], 10)
        if done:
            octets, flushes, _, seconds, _ = done
            self.figures |= {"ten_flushes": flushes / count, "ten_kib": octets / count / 1024}
            self.figures["ten_rate"] = count / seconds

    def mix(self):
        """A mix of sizes; what is on the disk for it."""
        count = 60 if self.quick else 200
        messages = [mails.typical(number, mix_size(number), USERS[1]) for number in range(count)]
        used = self.volume.used()
        done = self.delivering(messages, 10)
        if done:
            size = sum(map(len, messages))
            self.figures["mix"] = done[0] / size
            self.figures["disk"] = (self.volume.used() - used) / size

    def churn(self):
        """The mix, one message after another, a third of it deleted some time later, and all the housework that is due then."""
        if not self.peer.has_smtp:
            return
        user, turns = USERS[1], 6 if self.quick else 12
        before, received, segments = self.volume.written()[0], 0, self.peer.segments()
        for turn in range(turns):
            messages = [mails.typical(number, mix_size(number), user) for number in range(turn * 100, turn * 100 + 100)]
            self.delivering(messages, 1)
            received += sum(map(len, messages))
            client = self.imap(user)
            client.select()
            found = next(told[0] for told in client.command("UID SEARCH ALL") if told[0].startswith(b"* SEARCH"))
            for uid in found.split()[2:-50]:
                if int(uid) % 3 == 0:
                    client.command(f"UID STORE {int(uid)} +FLAGS.SILENT (\\Deleted)")
            client.command("EXPUNGE")
            client.logout()
        self.at_rest()
        if segments and segments <= self.peer.segments():
            raise RuntimeError("no segment was reclaimed")
        self.figures["reclaim"] = (self.volume.written()[0] - before) / received

    def flags(self):
        """One flag after another."""
        count = 50 if self.quick else 200
        client = self.imap(USERS[0])
        exists = client.select("Filled")
        self.flagged("flag", client, [exists - number for number in range(count)])
        client.logout()

    def flagged(self, key, client, numbers):
        """These messages, one after another: what a change writes."""
        octets, flushes = self.volume.written()
        for number in numbers:
            client.command(f"STORE {number} +FLAGS.SILENT (\\Flagged)")
        octets_after, flushes_after = self.volume.written()
        self.figures[f"{key}_kib"] = (octets_after - octets) / len(numbers) / 1024
        self.figures[f"{key}_flushes"] = (flushes_after - flushes) / len(numbers)

    def wide(self):
        """A large mailbox and a small one: flags scattered over the large one, and what each costs beside the other."""
        count = 50 if self.quick else 200
        few, wide = USERS[3], USERS[4]
        for user, messages in ((few, FEW), (wide, 2_000 if self.quick else WIDE)):
            self.filled(user, "Base", 500)
            client = self.imap(user)
            client.select("Base")
            while client.status() < messages:
                client.command("COPY 1:500 INBOX")
            client.logout()
        client = self.imap(wide)
        exists = client.select()
        self.flagged("wide", client, [number * 7919 % exists + 1 for number in range(1, count + 1)])
        client.logout()
        costs = [self.costs(user, count) for user in (few, wide)]
        for key, small in costs[0].items():
            self.figures[f"{key}_growth"] = costs[1][key] / small

    def costs(self, user, count):
        """CPU that so many deliveries, flag changes and looks at the last twenty changes take, ms."""
        took = {}
        if self.peer.has_smtp:
            self.at_rest()
            cpu, before, sender = self.group.cpu_ms(), self.inboxes([user]), wire.Smtp(self.peer)
            for number in range(count):
                sender.deliver([user], mails.typical(number, SMALL, user))
            sender.quit()
            while self.inboxes([user]) < before + count:
                time.sleep(0.1)
            took["deliver"] = self.group.cpu_ms() - cpu
        client = self.imap(user)
        exists = client.select()
        self.at_rest()
        cpu = self.group.cpu_ms()
        for number in range(count):
            client.command(f"STORE {exists - number} +FLAGS.SILENT (\\Answered)")
        took["flag"] = self.group.cpu_ms() - cpu
        told = b" ".join(response[0] for response in client.command("STATUS INBOX (HIGHESTMODSEQ)"))
        highest = int(re.search(rb"HIGHESTMODSEQ (\d+)", told)[1])
        client.command(f"STORE {exists - 19}:{exists} +FLAGS.SILENT (\\Seen)")
        self.at_rest()
        cpu = self.group.cpu_ms()
        for _ in range(count):
            client.command(f"FETCH 1:* (FLAGS) (CHANGEDSINCE {highest})")
        took["changes"] = self.group.cpu_ms() - cpu
        client.logout()
        return took

    def at_rest(self):
        """What was begun in the background has come to its end, or half a minute has passed."""
        for _ in range(30):
            cpu = self.group.cpu_ms()
            time.sleep(1)
            if self.group.cpu_ms() - cpu < 5:
                return

    def peak(self):
        """The most memory under the load of the budget's row."""
        if not self.peer.has_smtp:
            return
        self.peer.stop()
        self.peer.start()
        before, sums, over = self.inboxes(USERS), [0], threading.Event()

        def look():
            while not over.wait(0.05):
                sums.append(self.group.memory_kib()[0])

        looking = threading.Thread(target=look)
        looking.start()
        try:
            load = Load(self.peer, USERS, mailbox="Filled")
            load.run()
            until = time.monotonic() + 60
            while self.inboxes(USERS) < before + SENDERS and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            over.set()
            looking.join()
        if load.failures:
            raise RuntimeError("; ".join(load.failures))
        self.figures["peak"] = max(sums) / 1024

    def exists(self):
        """From the 250 to the untagged EXISTS."""
        if not self.peer.has_smtp:
            return
        reader = self.imap(USERS[2])
        reader.select()
        reader.idle()
        sender, waits = wire.Smtp(self.peer), []
        for number in range(10 if self.quick else 30):
            told = []

            def listen():
                while b" EXISTS" not in reader.line():
                    pass
                told.append(time.perf_counter())

            listener = threading.Thread(target=listen)
            listener.start()
            accepted = sender.deliver([USERS[2]], mails.typical(number, SMALL, USERS[2]))
            listener.join(30)
            waits.append(max(0.0, told[0] - accepted) * 1000)
        self.figures["exists"] = statistics.median(waits)
        sender.quit()
        reader.done()
        reader.logout()

    def start(self):
        """Killed, and started again."""
        self.peer.kill()
        self.figures["start"] = self.peer.start() * 1000


def lost_to_cuts():
    """Simulated power cuts, a part of the test's: what was lost over how many."""
    print("Pigeon: power cuts", file=sys.stderr, flush=True)
    words = ["cargo", "test", "--locked", "--test", "power_cuts", "a_power_cut_at_any", "--", "--nocapture"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    total = re.search(r"^in all +(\d+)$", done.stdout, re.MULTILINE)
    if done.returncode or not total:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        return None
    return f"0 of {int(total[1]):,} cuts"


def packages_mib(names):
    """Installed size of Debian packages."""
    sizes = subprocess.run(["dpkg-query", "-W", "-f", "${Installed-Size}\n", *names], capture_output=True, check=False)
    return sum(int(size) for size in sizes.stdout.split()) / 1024


def shown(value):
    """A figure with as many places as it deserves."""
    if value is None:
        return "-"
    if isinstance(value, (str, int)):
        return str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def main():
    """Measures, prints."""
    parser = argparse.ArgumentParser(prog="tests/bench/run")
    parser.add_argument("--peer", choices=("postfix-dovecot", "dovecot"))
    parser.add_argument("--quick", action="store_true", help="fewer messages")
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 65536)), hard))
    makers = {"pigeon": Pigeon}
    if arguments.peer:
        has_smtp = arguments.peer == "postfix-dovecot"
        wanted = ["dovecot", "openssl", *(["postfix"] if has_smtp else [])]
        missing = [name for name in wanted if not shutil.which(name)]
        if missing:
            sys.exit(f"missing: {', '.join(missing)}; see the head of tests/bench/run")
        makers[arguments.peer] = lambda *place: Dovecot(*place, has_smtp)
    columns = {}
    with tempfile.TemporaryDirectory(prefix="pigeon-bench-") as folder:
        Path(folder).chmod(0o755)
        for name, make in makers.items():
            bench = Bench(make, name, folder, arguments.quick)
            try:
                columns[bench.peer.name] = bench.run()
            finally:
                bench.close()
    (ours, figures), *others = columns.items()
    figures["size"] = binary().stat().st_size / 1048576
    figures["lost"] = lost_to_cuts()
    for name, peer in others:
        packages = ["dovecot-core", "dovecot-imapd"] + (["dovecot-lmtpd", "postfix"] if "Postfix" in name else [])
        peer["size"] = packages_mib(packages)
    names = " | ".join([ours, "budget", *(name for name, _ in others)])
    print(f"| what | {names} |\n|{'---|' * (3 + len(others))}")
    for key, what, unit, budget in ROWS:
        values = [shown(figures.get(key)), budget or "-", *(shown(peer.get(key)) for _, peer in others)]
        print(f"| {what}{f', {unit}' if unit else ''} | {' | '.join(values)} |")
    if others:
        print("\nDovecot answers a flag change before it is on the disk; Pigeon after.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
