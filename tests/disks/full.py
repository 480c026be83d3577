"""A real disk that fills up: deliveries are refused with 452, everything acknowledged can be read, deleting goes on, and
with room again mail is taken without a restart."""

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import mails, wire
from harness.server import Server

SENDER = "sender@example.net"
ROOM_S_MAX = 60  # the server looks after its house by itself; so long it may take to see the room


class Mount:
    """A small file system of its own; unmounted at the end."""

    def __init__(self, kind, mebibytes):
        self.kind, self.mebibytes = kind, mebibytes
        self.folder = Path(tempfile.mkdtemp(prefix="pigeon-disk-"))
        self.image = self.folder.with_suffix(".img")

    def __enter__(self):
        if self.kind == "tmpfs":
            options = f"size={self.mebibytes}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "pigeon-test", self.folder], check=True)
        else:
            with open(self.image, "wb") as image:
                image.truncate(self.mebibytes << 20)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True)
            subprocess.run(["mount", "-o", "loop", self.image, self.folder], check=True)
        return self.folder

    def __exit__(self, kind, value, trace):
        subprocess.run(["umount", self.folder], check=False)
        self.folder.rmdir()
        self.image.unlink(missing_ok=True)


def can_mount(kind):
    """Why this machine cannot mount one; nothing when it can."""
    try:
        with Mount(kind, 8):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error)


def subjects(server, user):
    """Every message in INBOX, by Message-ID."""
    client = wire.Imap(server, user=user)
    found = []
    if b"* 0 EXISTS" not in b" ".join(response[0] for response in client.command("SELECT INBOX")):
        for _, octets in client.bodies():
            found.append(re.search(rb"Message-ID: <([^>]*)>", octets)[1].decode())
    client.logout()
    return found


def fills_up(report, kind):
    """The test itself."""
    label = f"full disk, {kind}"
    why = can_mount(kind)
    if why:
        report.leave_out(label, why)
        return
    with Mount(kind, 40) as folder, Server(folder / "server", store={"reserve": "4 MiB", "segment": "1 MiB"}) as server:
        server.start()
        user = server.add_user("full")
        taken, refusal = [], None
        client = wire.Smtp(server)
        while refusal is None and len(taken) < 20_000:
            name = f"n{len(taken)}@full.example"
            octets = mails.typical(len(taken), 60_000, message_id=name)
            try:
                client.deliver([user], octets, SENDER)
                taken.append(name)
            except wire.Refused as error:
                refusal = str(error)
        report.messages(label, len(taken))
        report.check(label, "a delivery is refused for now", refusal is not None and "452" in refusal, str(refusal))
        report.check(label, "much was taken before", len(taken) > 100, f"{len(taken)}")
        report.check(label, "everything acknowledged is there", subjects(server, user) == taken)
        imap = wire.Imap(server, user=user)
        try:
            imap.append("INBOX", mails.typical(1, 60_000, message_id="append@full.example"))
            report.check(label, "APPEND is refused", False, "it was taken")
        except wire.Refused as error:
            report.check(label, "APPEND is refused", b"NO" in str(error).encode(), str(error))
        status = server.run("status").stdout.decode()
        report.check(label, "status answers", "messages" in status, status)
        # What is deleted makes room by itself: nobody restarts anything.
        imap.select()
        half = len(taken) // 2
        imap.command(f"STORE 1:{half} +FLAGS.SILENT (\\Deleted)")
        imap.command("EXPUNGE")
        imap.logout()
        left = taken[half:]
        report.check(label, "deleting goes on", subjects(server, user) == left)
        started, room = time.monotonic(), None
        while room is None and time.monotonic() - started < ROOM_S_MAX:
            try:
                client = wire.Smtp(server)
                client.deliver([user], mails.typical(7, 60_000, message_id="room@full.example"), SENDER)
                room = time.monotonic() - started
            except wire.Refused:
                time.sleep(0.5)
        report.check(label, "mail is taken again without a restart", room is not None, f"not within {ROOM_S_MAX} s")
        if room is not None:
            left = [*left, "room@full.example"]
            print(f"  {label}: {len(taken)} messages until it was full; room again {room:.1f} s after EXPUNGE")
        server.kill()
        server.start()
        report.check(label, "after kill -9 everything is there", subjects(server, user) == left)
        server.stop()
        usage = shutil.disk_usage(folder)
        print(f"  {label}: {usage.used / 1048576:.1f} of {usage.total / 1048576:.1f} MiB in use at the end")
