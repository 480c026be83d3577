"""Several clients on one mailbox at once: what one does, the others see."""

import re
import statistics
import time

from harness import wire

from clients.readers import ImapClient, missing
from clients.sync import plain

EXISTS_S_BUDGET = 0.001  # DESIGN section 2: untagged EXISTS within 1 ms of the 250
ROUNDS = 50


def together(report, server):
    """IDLE, POP3 beside IMAP, two IMAP sessions."""
    report.guarded("delivery wakes IDLE", wakes, report, server)
    report.guarded("POP3 deletes, IMAP sees", pop3_deletes, report, server)
    report.guarded("two IMAP sessions", two_sessions, report, server)
    report.guarded("imapclient in IDLE", program_in_idle, report, server)


def wake_latencies(server, user, rounds=ROUNDS):
    """Seconds from the 250 to the untagged EXISTS, each round; 0 when the EXISTS was there first."""
    idle = wire.Imap(server, user=user)
    idle.select()
    idle.idle()
    smtp = wire.Smtp(server)
    took = []
    for number in range(rounds):
        time.sleep(0.02)
        accepted = smtp.deliver([user], plain(number % 60))
        line = idle.line()
        while not line.endswith(b" EXISTS"):
            line = idle.line()
        took.append(max(0.0, time.perf_counter() - accepted))
        if int(line.split()[1]) != number + 1:
            raise RuntimeError(f"delivery {number + 1} was announced as {line!r}")
    idle.done()
    idle.logout()
    smtp.quit()
    return took


def wakes(report, server):
    """A delivery wakes IDLE at once."""
    label = "delivery wakes IDLE"
    took = wake_latencies(server, server.add_user("wakes"))
    report.messages(label, len(took))
    median, worst = statistics.median(took), max(took)
    print(
        f"  250 to EXISTS: median {median * 1000:.2f} ms, worst {worst * 1000:.2f} ms (budget "
        f"{EXISTS_S_BUDGET * 1000:g} ms)"
    )
    report.check(label, "median within ten times the budget", median <= 10 * EXISTS_S_BUDGET, f"{median * 1000:.2f} ms")


def pop3_deletes(report, server):
    """One POP3 client deletes at QUIT; one IMAP client in IDLE sees the EXPUNGE; the UIDL of the others stays."""
    label = "POP3 deletes, IMAP sees"
    user = server.add_user("both")
    smtp = wire.Smtp(server)
    for number in range(1, 6):
        smtp.deliver([user], plain(number))
    idle = wire.Imap(server, user=user)
    report.check(label, "five messages", idle.select() == 5)
    idle.idle()
    pop = wire.Pop3(server, user=user)
    names = dict(line.split() for line in pop.many("UIDL").decode().splitlines())
    pop.one("DELE 2")
    pop.one("DELE 4")
    smtp.deliver([user], plain(6))  # while POP3's snapshot stands
    report.check(
        label,
        "POP3 counts its five less two",
        pop.one("STAT").split()[1] == "3",
        "STAT leaves out what is deleted (RFC 1939 section 5)",
    )
    arrived = idle.line()
    while not arrived.endswith(b"EXISTS"):
        arrived = idle.line()
    report.check(label, "the delivery is announced first", arrived == b"* 6 EXISTS", repr(arrived))
    pop.quit()
    seen = []
    while len(seen) < 2:
        line = idle.line()
        if line.endswith(b"EXPUNGE"):
            seen.append(line)
    # After the first EXPUNGE the numbers above it have moved down (RFC 3501 section 7.4.1).
    report.check(
        label,
        "both EXPUNGEs, correctly numbered",
        seen in ([b"* 2 EXPUNGE", b"* 3 EXPUNGE"], [b"* 4 EXPUNGE", b"* 2 EXPUNGE"]),
        repr(seen),
    )
    idle.done()
    report.check(label, "four are left", len(idle.bodies()) == 4)
    again = wire.Pop3(server, "pop3s", tls=True, user=user)
    later = dict(line.split() for line in again.many("UIDL").decode().splitlines())
    report.check(
        label,
        "UIDLs of the others stay",
        list(later.values())[:3] == [names["1"], names["3"], names["5"]],
        f"{names} {later}",
    )
    report.check(label, "a new UIDL is new", later["4"] not in names.values())
    again.quit()
    idle.logout()
    smtp.quit()
    report.messages(label, 6)


def two_sessions(report, server):
    """Flags, appends and expunges of one session reach another that idles, and one that only says NOOP."""
    label = "two IMAP sessions"
    user = server.add_user("two")
    one, idle, quiet = (wire.Imap(server, user=user) for _ in range(3))
    for number in range(1, 4):
        one.append("INBOX", plain(number))
    for client in (one, idle, quiet):
        client.select()
    idle.idle()
    one.command("STORE 2 +FLAGS (\\Flagged \\Seen)")
    line = idle.line()
    report.check(
        label, "idle sees flags", re.match(rb"\* 2 FETCH \(.*FLAGS \(.*\\Flagged", line) is not None, repr(line)
    )
    one.append("INBOX", plain(4))
    line = idle.line()
    while b"EXISTS" not in line:
        line = idle.line()
    report.check(label, "idle sees APPEND", line == b"* 4 EXISTS", repr(line))
    one.command("STORE 1 +FLAGS.SILENT (\\Deleted)")
    one.command("EXPUNGE")
    line = idle.line()
    while b"EXPUNGE" not in line:
        line = idle.line()
    report.check(label, "idle sees EXPUNGE", line == b"* 1 EXPUNGE", repr(line))
    # RFC 3501 section 7.4.1: no EXPUNGE while a FETCH by sequence number runs; NOOP is the place for it.
    # Number 1 is gone: NO [EXPUNGEISSUED] is as good as OK with the two that are left (RFC 5530 section 3).
    fetched = quiet.command("FETCH 1:3 (UID FLAGS)", ("OK", "NO"))
    report.check(
        label, "no EXPUNGE during FETCH", not any(b" EXPUNGE" in response[0] for response in fetched), repr(fetched)
    )
    told = quiet.command("NOOP")
    words = [response[0] for response in fetched + told]
    report.check(
        label,
        "by the end of NOOP it knows",
        b"* 1 EXPUNGE" in words and any(b"EXISTS" in word for word in words),
        repr(words),
    )
    idle.done()
    counts = [len(client.bodies()) for client in (one, idle, quiet)]
    report.check(label, "all three agree", counts == [3, 3, 3], str(counts))
    for client in (one, idle, quiet):
        client.logout()
    report.messages(label, 4)


def program_in_idle(report, server):
    """IMAPClient waits in IDLE while mail arrives."""
    label = "imapclient in IDLE"
    why = missing(ImapClient())
    if why:
        report.leave_out(label, why)
        return
    import imapclient  # a package of the tests' own environment; missing() looked before

    user = server.add_user("idler")
    client = imapclient.IMAPClient(server.host, server.ports["imaps"], ssl_context=wire.context(server))
    client.login(user, server.passwords[user])
    client.select_folder("INBOX")
    client.idle()
    smtp = wire.Smtp(server)
    smtp.deliver([user], plain(1))
    found = []
    end = time.monotonic() + 10
    while (1, b"EXISTS") not in found and time.monotonic() < end:
        found += client.idle_check(timeout=1)
    report.check(label, "sees EXISTS", (1, b"EXISTS") in found, repr(found))
    client.idle_done()
    client.logout()
    smtp.quit()
    report.messages(label, 1)
