"""What the server takes on the board, beside README's budgets: the same mailboxes, connections and load as `budgets` measures on this
machine, on a board of 512 MB and its profile. Read over ssh from /proc, as nothing else on the board tells it."""

import time

from budgets import ground
from budgets.load import Load
from harness import mails, procfs, wire

from board import shell
from board.machine import Machine

CARD_MIB = 2048
RESIDENT_MIB, ANONYMOUS_MIB, FIFTY_MIB, MANY_MIB, PEAK_MIB = 6, 2.5, 8, 16, 24  # README, Budgets: the static musl build
USERS = [f"user{number}@example.org" for number in range(ground.PASSWORDS + 1)]
PASSWORD = "a-password-of-one-of-fifty"


def inside_budgets(report, world):
    """The server's memory on a board of 512 MB: started, 50 and 500 in IDLE, the peak."""
    key = shell.key(world.folder, "memory-key")
    accounts = "".join(f'"{user}" = "{PASSWORD}"\n' for user in USERS)
    public = key.with_suffix(".pub").read_text().strip()
    # All come from one address, which is qemu's.
    text = f'hostname = "mail.example.org"\n[limits]\nconnections_per_ip = 512\n[board]\nssh_key = "{public}"\n[accounts]\n{accounts}'
    card = world.fresh_card("memory.img", text, CARD_MIB)
    passwords = dict.fromkeys(USERS, PASSWORD)
    folder = world.folder / "memory"
    with Machine(card, folder, start=world.direct, passwords=passwords) as machine:
        _up(machine, world)
        _fill(machine)
        machine.power_button(world.patience)
    with Machine(card, folder, start=world.direct, passwords=passwords) as machine:
        _up(machine, world)
        reading = Reading(machine, key)
        now = reading.settled()
        _figure(report, "the server, started, 10,000 messages: resident", now["Rss"], RESIDENT_MIB)
        _figure(report, "the same, its anonymous part", now["Anonymous"], ANONYMOUS_MIB)
        clients = []
        for count, budget in ((50, FIFTY_MIB), (500, MANY_MIB)):
            clients += [ground.idler(machine, USERS, number) for number in range(len(clients), count)]
            _figure(report, f"the server, {count} TLS connections in IDLE: resident", reading.settled()["Rss"], budget)
        for client in clients:
            client.close()
    with Machine(card, folder, start=world.direct, passwords=passwords) as machine:
        _up(machine, world)
        load = Load(machine, USERS, patience=world.patience * 4)
        load.run()
        report.check("board, memory", "ten 25 MB messages, a fetch and logins at once all went well", not load.failures, "; ".join(load.failures))
        _figure(report, "the server's peak: ten 25 MB messages, 10,000 fetched, a login", Reading(machine, key).now("status")["VmHWM"], PEAK_MIB)
        report.check("board, memory", "nothing was killed for want of memory", not machine.said("Out of memory"))


def _figure(report, what, kib, budget):
    report.figure(f"board: {what}", kib / 1024, budget, "MiB", kib / 1024 <= budget)


def _up(machine, world):
    machine.greeting(world.patience)
    machine.authority(world.patience)
    shell.until_it_answers(machine, world.patience)


def _fill(machine):
    started = time.monotonic()
    ground.append_abreast(machine, USERS[0], "INBOX", ground.MESSAGES, mails.standing_size)
    for user in USERS[1:]:
        ground.append(machine, user, "INBOX", range(ground.SMALL), mails.standing_size)
    client = wire.Imap(machine, user=USERS[0])
    there = client.select()
    client.logout()
    if there != ground.MESSAGES:
        raise RuntimeError(f"{there} messages are there of {ground.MESSAGES}")
    print(f"  filled {there} + {ground.PASSWORDS * ground.SMALL} messages in {time.monotonic() - started:.0f} s")


class Reading:
    """What the board's kernel says about the server."""

    def __init__(self, machine, key):
        self.machine, self.key = machine, key

    def now(self, file):
        """The KiB in a file of the server's in /proc, by name."""
        code, out, error = shell.run(self.machine, self.key, f"cat /proc/$(cat /run/board/serve.pid)/{file}")
        if code != 0:
            raise RuntimeError(f"ssh: {code}, {error}")
        return procfs.kibs(out)

    def settled(self):
        """Once it stands still."""
        last = self.now("smaps_rollup")
        for _ in range(20):
            time.sleep(1)
            now = self.now("smaps_rollup")
            if abs(now["Rss"] - last["Rss"]) <= 8:
                return now
            last = now
        return last
