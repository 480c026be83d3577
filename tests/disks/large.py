"""A backup of a large store: a second one after one new mail writes little, and no delivery waits for either."""

import threading
import time

from harness import mails, wire
from harness.server import Server

SENDER = "sender@example.net"
LABEL = "backup of 1 GiB"
STORE_BYTES = 1 << 30
MESSAGE_BYTES = 100_000
SECOND_BYTES_MAX = 2 << 20
WAIT_S_MAX = 2.0  # beside a disk that is being copied; alone it takes milliseconds


def tree_bytes(folder):
    """Octets of all files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def written(folder, before):
    """Octets of the files that are new or changed since `before`."""
    return sum(
        file.stat().st_size for file in folder.rglob("*") if file.is_file() and file.stat().st_mtime_ns > before
    )


def fill(server, user, count):
    """So many messages, by four connections."""

    def some(first):
        client = wire.Smtp(server)
        for number in range(first, count, 4):
            client.deliver([user], mails.typical(number, MESSAGE_BYTES), SENDER)

    threads = [threading.Thread(target=some, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def grows_little(report, store_bytes=STORE_BYTES):
    """The test itself."""
    with Server() as server:
        server.start()
        user = server.add_user("large")
        fill(server, user, store_bytes // MESSAGE_BYTES)
        stick = server.folder / "stick"
        waits, done = [], threading.Event()

        def deliver():
            client = wire.Smtp(server)
            number = 0
            while not done.is_set():
                number += 1
                started = time.perf_counter()
                client.deliver([user], mails.typical(number, 2_000, message_id=f"m{number}@large.example"), SENDER)
                waits.append(time.perf_counter() - started)
                time.sleep(0.02)

        thread = threading.Thread(target=deliver)
        thread.start()
        started = time.perf_counter()
        server.run("backup", stick, timeout=600)
        first_s = time.perf_counter() - started
        done.set()
        thread.join()
        report.check(LABEL, "no delivery waits for it", max(waits) < WAIT_S_MAX, f"{max(waits):.3f} s")
        server.run("backup", stick, timeout=600)
        wire.Smtp(server).deliver([user], mails.typical(1, 2_000, message_id="one@large.example"), SENDER)
        before = time.time_ns()
        server.run("backup", stick, timeout=600)
        second = written(stick, before)
        report.check(LABEL, "one new mail costs little", second < SECOND_BYTES_MAX, f"{second} octets")
        print(
            f"  {LABEL}: {tree_bytes(server.data) / (1 << 20):.0f} MiB copied in {first_s:.1f} s, deliveries meanwhile "
            f"{len(waits)}, the slowest {max(waits) * 1000:.0f} ms; after one new mail {second / 1024:.0f} KiB"
        )
        server.run("backup", "--check", stick, timeout=900)
        server.stop()
