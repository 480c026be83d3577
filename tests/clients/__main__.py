"""The client tests: what programs send, what programs read, sync both ways, two at once, a 100 MB message.

python -m clients RESULTS.json [part ...]
"""

import concurrent.futures
import sys
import tempfile
from pathlib import Path

from harness import compare, mails, wire
from harness.report import Report
from harness.server import Server

from clients import big, compose, operate, readers, senders, sync, together, trust

OUTSIDE = "sender@example.net"
ABREAST = 3  # programs at once: they wait more than they work


def fetched(server, user, **options):
    """Everything in a user's INBOX by our own driver: (uid, octets)."""
    client = wire.Imap(server, "imap", user=user, **options)
    client.select()
    found = client.bodies()
    client.logout()
    return found


def deliver(report, server):
    """Every sending program has an account to send to; what arrived is what it sent, below the trace."""
    with concurrent.futures.ThreadPoolExecutor(ABREAST) as pool:
        for place, sender in enumerate(senders.senders()):
            why = readers.missing(sender)
            if why:
                report.leave_out(sender.label, why)
            else:
                pool.submit(report.guarded, sender.label, _deliver_by, report, server, sender, place)


def _deliver_by(report, server, sender, place):
    recipient = server.add_user(f"to{place}")
    own = server.add_user(f"from{place}") if sender.logs_in and sender.protocol == "smtp" else OUTSIDE
    # The corpus as well where it costs little; where only TLS and the login differ, and for slow starters, not.
    whole = (sender.security == "plain" or sender.protocol == "imap") and sender.program != "swaks"
    chosen = mails.everything() if whole else mails.odd()
    sent = []
    with tempfile.TemporaryDirectory() as folder:
        for mail in chosen:
            if sender.protocol == "smtp":
                mail = mail.for_smtp()
            elif not mail.by_append:
                continue
            octets = sender.sent(mail.octets)
            if octets is None:
                continue
            try:
                sender.send(server, own, recipient, mail.octets, Path(folder))
            except Exception as error:  # the next message may pass
                report.check(sender.label, mail.name, False, f"could not be sent: {error}")
                continue
            sent.append((mail.name, octets))
    found = fetched(server, recipient)
    report.messages(sender.label, len(sent))
    report.check(
        sender.label, "number of messages", len(found) == len(sent), f"{len(sent)} acknowledged, {len(found)} there"
    )
    for (name, octets), (_, stored) in zip(sent, found):
        if sender.protocol == "smtp":
            try:
                stored = compare.without_trace(stored, own)
                stored = compare.uncompleted(stored, octets) if sender.logs_in else stored
            except ValueError as error:
                report.check(sender.label, name, False, str(error))
                continue
        why = compare.difference(octets, stored)
        report.check(sender.label, name, why is None, why)


def fill_library(report, server, user):
    """One INBOX with everything: first over SMTP what SMTP can carry, then over APPEND the exact octets of all."""
    by_smtp = [mail.for_smtp() for mail in mails.everything()]
    by_append = [mail for mail in mails.everything() if mail.by_append]
    smtp = wire.Smtp(server)
    for mail in by_smtp:
        smtp.deliver([user], mail.octets, OUTSIDE)
    smtp.quit()
    imap = wire.Imap(server, user=user)
    for mail in by_append:
        imap.append("INBOX", mail.octets)
    imap.logout()
    found = fetched(server, user)
    label = "own driver, SMTP and APPEND"
    report.messages(label, len(by_smtp) + len(by_append))
    report.check(label, "number of messages", len(found) == len(by_smtp) + len(by_append))
    for place, (mail, (_, stored)) in enumerate(zip(by_smtp + by_append, found)):
        body = compare.without_trace(stored, OUTSIDE) if place < len(by_smtp) else stored
        why = compare.difference(mail.octets, body)
        report.check(label, mail.name, why is None, why)
    return [
        (f"{mail.name} ({'SMTP' if place < len(by_smtp) else 'APPEND'})", uid, stored)
        for place, (mail, (uid, stored)) in enumerate(zip(by_smtp + by_append, found))
    ]


def read(report, server):
    """Every reading program downloads the library; what it saved is what its model makes of what the server holds."""
    user = server.add_user("library")
    library = []
    report.guarded("own driver, SMTP and APPEND", lambda: library.extend(fill_library(report, server, user)))
    with concurrent.futures.ThreadPoolExecutor(ABREAST) as pool:
        for reader in readers.readers():
            why = readers.missing(reader)
            if why:
                report.leave_out(reader.label, why)
            else:
                pool.submit(report.guarded, reader.label, _read_by, report, server, user, reader, library)


def _read_by(report, server, user, reader, library):
    expected = [(name, reader.saved(octets), octets) for name, _, octets in library]
    able = [(name, saved) for name, saved, _ in expected if saved is not None]
    skippable = {name for name, _, octets in expected if reader.may_skip(octets)}
    with tempfile.TemporaryDirectory() as folder:
        got = reader.read(server, user, Path(folder), [uid for _, uid, _ in library])
    wrong = [
        (name, why)
        for name, why in compare.unmatched(able, got)
        if name not in skippable or not why.startswith("missing")
    ]
    report.messages(reader.label, len(got))
    for name, why in wrong:
        report.check(reader.label, name, False, why)
    for _ in range(len(able) - len(wrong)):
        report.check(reader.label, "", True)
    if len(able) < len(library):
        print(f"  {reader.name} itself cannot save {len(library) - len(able)} of {len(library)}")


PARTS = {
    "trust": trust.trust,
    "deliver": deliver,
    "compose": compose.compose,
    "read": read,
    "operate": operate.operate,
    "sync": sync.sync,
    "together": together.together,
    "big": big.big,
}


def main(words):
    """Runs the parts on one server (the 100 MB one starts its own)."""
    report = Report()
    with Server(limits={"connections": 600, "connections_per_ip": 300}) as server:
        server.start()
        for name, part in PARTS.items():
            if not words[1:] or name in words[1:]:
                report.guarded(name, part, report, server)
                report.check("server", f"still runs after {name}", server.child.poll() is None, server.tail())
        report.check(
            "server", "logged no panic", "panicked" not in server.log.read_text(errors="replace"), server.tail()
        )
        took = server.stop()
        report.check("server", "ended within 5 s of SIGTERM", took < 5, f"{took:.1f} s")
    return report.end(Path(words[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
