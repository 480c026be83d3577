"""A backup's folder taken further by a program that copies files, and back: `pigeon backup`, restic, `pigeon restore`."""

import shutil
import subprocess

from disks.full import subjects
from harness import mails, wire
from harness.server import Server

SENDER = "sender@example.net"
LABEL = "restic takes a backup away"


def restic(folder, *words):
    """One restic command on a repository beside the server."""
    environment = {"RESTIC_PASSWORD": "for this test", "RESTIC_CACHE_DIR": str(folder / "cache"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["restic", "--quiet", "--repo", folder / "repository", *words],
        capture_output=True,
        timeout=120,
        check=False,
        env=environment,
    )
    if done.returncode != 0:
        raise RuntimeError(f"restic {' '.join(map(str, words))}: {done.stderr.decode()[-500:]}")


def away_and_back(report):
    """The test itself."""
    if shutil.which("restic") is None:
        report.leave_out(LABEL, "restic is not installed")
        return
    with Server() as server:
        server.start()
        user = server.add_user("away")
        stick, back = server.folder / "stick", server.folder / "back"
        restic(server.folder, "init")
        names = []
        for number in range(40):
            names.append(f"away{number}@off.example")
            wire.Smtp(server).deliver([user], mails.typical(number, 20_000, message_id=names[-1]), SENDER)
            if number in (20, 39):
                server.run("backup", stick)
                restic(server.folder, "backup", stick)
        report.messages(LABEL, len(names))
        server.stop()
        restic(server.folder, "restore", "latest", "--target", back)
        shutil.rmtree(server.data)
        shutil.rmtree(stick)
        server.run("restore", back / stick.relative_to("/"))
        server.start()
        report.check(LABEL, "every message is back", subjects(server, user) == names)
        server.stop()
