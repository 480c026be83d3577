"""Measures the release binary against its budgets; prints each figure beside its budget and fails when one is over.

    python -m budgets RESULTS.json [part ...]

Times are held to ten times their budget (a test machine is shared), everything else to the budget itself.
"""

import os
import resource
import statistics
import sys
import time
from pathlib import Path

from clients.together import wake_latencies
from harness import mails, procfs, wire
from harness.elf import Elf
from harness.report import Report
from harness.server import Server, binary

from budgets.ground import PASSWORDS, Ground, append_abreast
from budgets.load import Load

COSTED = 200  # connections whose cost is averaged


def inside(value, budget, unit="MiB"):
    """A figure's value, budget, unit, and whether it is inside."""
    return value, budget, unit, value <= budget


def resident_kib(pid):
    """Resident memory."""
    return procfs.rollup(pid)["Rss"]


def size(report, _ground):
    """The stripped release binary."""
    report.figure("release binary", *inside(binary().stat().st_size / 1048576, 6))


def memory(report, ground):
    """Resident memory: started, with 50 and with 500 idle TLS connections; system calls while they idle."""
    server = ground.server.start()
    report.figure(
        "started, 10,000 messages, no connection: resident",
        *inside(procfs.settled(server.pid, resident_kib) / 1024, 6 if Elf(binary()).is_static else 7.5),
    )
    report.figure("the same, its anonymous part", *inside(procfs.rollup(server.pid)["Anonymous"] / 1024, 2.5))
    clients = []
    for count, budget in ((50, 8), (500, 16)):
        clients += ground.idlers(count - len(clients), len(clients))
        report.figure(
            f"{count} TLS connections in IDLE: resident",
            *inside(procfs.settled(server.pid, resident_kib) / 1024, budget),
        )
    calls, table = procfs.system_calls(server.pid, 10)
    if calls is None:
        report.leave_out("system calls of an idle server", table)
    else:
        report.figure(f"system calls in 10 s, {len(clients)} in IDLE", *inside(calls, 10, "calls"))
        if calls > 10:
            print(table)
    for client in clients:
        client.close()
    server.stop()


def returned(report, ground):
    """What 500 TLS connections held is given back once they have gone: glibc by malloc_trim, musl by itself."""
    server = ground.server.start()
    for client in ground.idlers(PASSWORDS):  # caches warm, every password known, the code read
        client.close()
    before = procfs.settled(server.pid, resident_kib)
    clients = ground.idlers(500)
    held = procfs.settled(server.pid, resident_kib)
    for client in clients:
        client.close()
    time.sleep(3)  # a pause without anybody leaving is waited for, then the heap is looked through
    after = procfs.settled(server.pid, resident_kib)
    print(f"  resident: {before / 1024:.1f} MiB before, {held / 1024:.1f} with 500, {after / 1024:.1f} after they left")
    report.figure("kept of 500 TLS connections that have gone", *inside((after - before) / 1024, 1.5))
    server.stop()


def peak(report, ground):
    """Ten 25 MB messages arriving at once, one client fetching 10,000 messages, one login hashing."""
    server = ground.server.start()
    load = Load(server, ground.users)
    load.run()
    report.check(
        "budgets",
        "ten 25 MB messages, a fetch and logins at once all went well",
        not load.failures,
        "; ".join(load.failures),
    )
    report.figure(
        "peak: ten 25 MB messages, 10,000 fetched, a login", *inside(procfs.status(server.pid)["VmHWM"] / 1024, 24)
    )
    server.stop()


def connections(report, ground):
    """What one idle connection costs, process and kernel together."""
    if not ground.group.places:
        report.leave_out("kernel memory of a connection", "needs root and a control group")
    where = "process and kernel" if ground.group.places else "process only"

    def total(pid):
        return procfs.rollup(pid)["Pss"] + (ground.group.kernel_kib() or 0)

    for tls, budget in ((False, 10), (True, 20)):
        server = ground.server.start()
        for client in ground.idlers(PASSWORDS, tls=tls):  # caches warm, every password known
            client.close()
        before = procfs.settled(server.pid, total)
        clients = ground.idlers(COSTED, tls=tls)
        each = (procfs.settled(server.pid, total) - before) / COSTED
        report.figure(f"idle connection, {'TLS' if tls else 'plain'}, {where}", *inside(each, budget, "KiB"))
        for client in clients:
            client.close()
        server.stop()


def latency(report, ground):
    """From the 250 to the untagged EXISTS."""
    server = ground.server.start()
    median = statistics.median(wake_latencies(server, server.add_user("latency"), 100)) * 1000
    report.figure("250 to EXISTS in IDLE, median", median, 1, "ms (ten times allowed)", median <= 10)
    server.stop()


def verbs(report, ground):
    """`pigeon user add` beside a running server, from the command to its end: a process, a hash, a commit."""
    server = ground.server.start()
    took = []
    for number in range(10):
        begun = time.perf_counter()
        server.add_user(f"added{number}")
        took.append(time.perf_counter() - begun)
    median = statistics.median(took) * 1000
    report.figure("user add, server running, median", median, 200, "ms (ten times allowed)", median <= 2000)
    server.stop()


def stop(report, ground):
    """From SIGTERM to the end of the process, with mail no checkpoint holds yet: nobody there, then idle clients."""
    for count in (0, 50):
        server = ground.server.start()
        append_abreast(server, ground.users[1], "INBOX", 200)
        clients = ground.idlers(count)
        value = server.stop() * 1000
        what = f"SIGTERM to the end, {count} TLS connections in IDLE"
        report.figure(what, value, 500, "ms (ten times allowed)", value <= 5000)
        for client in clients:
            client.close()


def start(report, _ground):
    """Time to the first greeting: 100,000 messages, clean; then after kill -9 with events to replay."""
    with Server() as server:
        server.start()
        user = server.add_user("many")
        begun = time.monotonic()
        client = wire.Imap(server, user=user, timeout=300)
        client.command('CREATE "Base"')
        append_abreast(server, user, "Base", 5_000)
        client.select("Base")
        for _ in range(20):
            client.command('COPY 1:* "INBOX"')
        count = client.status()
        print(f"  filled {count} messages in {time.monotonic() - begun:.1f} s")
        report.check("budgets", "100,000 messages are there", count == 100_000, str(count))
        client.logout()
        server.restart()
        _greeting(report, "first greeting, 100,000 messages, clean start", server)
        append_abreast(server, user, "INBOX", 8_000)
        server.kill()
        server.start()
        _greeting(report, "first greeting, 100,000 messages, after kill -9", server)
        client = wire.Imap(server, user=user, timeout=300)
        report.check("budgets", "nothing was lost by kill -9", client.status() == 108_000, str(client.status()))
        client.logout()
        server.stop()


def _greeting(report, what, server):
    value = server.first_greeting_s * 1000
    report.figure(what, value, 200, "ms (ten times allowed)", value <= 2000)


IMPORTED = 100_000


def imported(report, _ground):
    """A hundred thousand messages out of an mbox: how many in a second, and what server and program hold meanwhile."""
    with Server() as server:
        server.start()
        user, source = server.add_user("mover"), server.folder / "old.mbox"
        with source.open("wb") as mbox:
            for number in range(IMPORTED):
                octets = mails.typical(number % 1000, 1600, message_id=f"old{number}@import.example")
                mbox.write(b"From mover@example.org Sat Nov 21 12:00:00 2026\n" + octets.replace(b"\r\n", b"\n") + b"\n")
        begun = time.monotonic()
        words = [str(binary()), "--config", str(server.config), "import", str(source), "--account", user]
        program = os.posix_spawn(words[0], words, os.environ)
        status, peak_kib = None, 0
        while status is None:  # not by wait4: that counts what this program took before the other began
            peak_kib = max(peak_kib, procfs.status(program).get("VmHWM", 0))
            time.sleep(0.05)
            ended, code = os.waitpid(program, os.WNOHANG)
            status = code if ended else None
        rate = IMPORTED / (time.monotonic() - begun)
        report.check("budgets", "the import came to its end", status == 0, str(status))
        what = f"import of {IMPORTED:,} messages ({source.stat().st_size >> 20} MiB), at least (a tenth allowed)"
        report.figure(what, rate, 500, "messages/s", rate >= 50)
        report.figure("the same: the server's peak", *inside(procfs.status(server.pid)["VmHWM"] / 1024, 24))
        report.figure("the same: the program's peak", *inside(peak_kib / 1024, 24))
        client = wire.Imap(server, user=user, timeout=300)
        report.check("budgets", "each came in", client.status() == IMPORTED, str(client.status()))
        client.logout()
        server.stop()


PARTS = {
    "size": size,
    "memory": memory,
    "returned": returned,
    "peak": peak,
    "connections": connections,
    "latency": latency,
    "verbs": verbs,
    "stop": stop,
    "start": start,
    "imported": imported,
}
NEEDS_GROUND = set(PARTS) - {"size", "start", "imported"}


def main(words):
    """Runs the parts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    report = Report()
    chosen = words[1:] or list(PARTS)
    ground = Ground(report)
    with ground.server:
        if set(chosen) & NEEDS_GROUND:
            report.guarded("fill", ground.fill)
        for name, part in PARTS.items():
            if name in chosen:
                report.guarded(name, part, report, ground)
                if ground.server.child and ground.server.child.poll() is None:
                    ground.server.kill()  # a part that failed left it running
    ground.group.remove()
    return report.end(Path(words[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
