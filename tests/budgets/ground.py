"""What the measurements stand on: one data directory with the standing mailbox and fifty more accounts."""

import concurrent.futures
import time

from harness import mails, procfs, wire
from harness.server import Server

MESSAGES = 10_000
PASSWORDS = 50
SMALL = 20  # messages in each of the fifty other mailboxes
STREAMS = 8  # connections that append at once, so that they share the store's syncs


class Ground:
    """Filled once, then served afresh by each part that measures."""

    def __init__(self, report):
        self.report = report
        self.group = procfs.Group()
        self.server = Server(group=self.group.places)
        self.users = []

    def fill(self):
        """10,000 messages of the standing mix for the first account, twenty for each other."""
        server = self.server.start()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            self.users = list(pool.map(server.add_user, [f"user{number}" for number in range(PASSWORDS + 1)]))
        started = time.monotonic()
        append_abreast(server, self.users[0], "INBOX", MESSAGES, mails.standing_size)
        with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
            list(
                pool.map(lambda user: append(server, user, "INBOX", range(SMALL), mails.standing_size), self.users[1:])
            )
        print(f"  filled {MESSAGES} + {PASSWORDS * SMALL} messages in {time.monotonic() - started:.1f} s")
        client = wire.Imap(server, user=self.users[0])
        self.report.check("budgets", "the mailbox holds what was put into it", client.select() == MESSAGES)
        client.logout()
        server.stop()

    def idlers(self, count, first=0, tls=True):
        """Connections that log in with fifty different passwords, select, fetch, and then idle."""
        return [idler(self.server, self.users, number, tls) for number in range(first, first + count)]


def idler(server, users, number, tls=True):
    """One of them."""
    user = users[1 + number % PASSWORDS]
    client = wire.Imap(server, "imaps" if tls else "imap", tls=tls, user=user, source=wire.address_of(number))
    client.select()
    client.command("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
    client.command("FETCH 1:3 BODY.PEEK[]")
    client.idle()
    return client


def append(server, user, mailbox, numbers, size=lambda number: 1000):
    """Appends messages on one connection."""
    client = wire.Imap(server, user=user)
    client.append_many(mailbox, (mails.typical(number, size(number), user) for number in numbers))
    client.logout()


def append_abreast(server, user, mailbox, count, size=lambda number: 1000):
    """Appends so many messages over several connections."""
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        list(pool.map(lambda first: append(server, user, mailbox, range(first, count, STREAMS), size), range(STREAMS)))
