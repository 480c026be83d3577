"""A message of 100 MB: in by SMTP and APPEND, out by IMAP and POP3, octet for octet, inside the memory budget."""

import base64
import random
import tempfile
from pathlib import Path

from harness import compare, procfs, wire
from harness.server import Server

from clients.readers import Curl as CurlReader
from clients.readers import missing, run, secret_file

SIZE = 100_000_000
PEAK_MIB = 24  # DESIGN section 2, the peak row
SENDER = "sender@example.net"


def message():
    """A letter with one attachment of base64 that never repeats, and where that attachment begins."""
    line = random.Random(2).randbytes
    head = (
        b"From: sender@example.net\r\nTo: big@example.org\r\nSubject: a film\r\n"
        b"Date: Mon, 06 Jan 2025 10:00:00 +0000\r\n"
        b'Message-ID: <film@example.net>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="film"\r\n\r\n'
        b"--film\r\nContent-Type: text/plain\r\n\r\nSee the film.\r\n.\r\n--film\r\nContent-Type: video/mp4\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
    )
    tail = b"\r\n--film--\r\n"
    lines = (SIZE - len(head) - len(tail)) // 78
    part = base64.encodebytes(line(lines * 57)).replace(b"\n", b"\r\n")[:-2]
    return head + part + tail, part


def big(report, _server):
    """On a server of its own, configured for it."""
    label = "100 MB message"
    octets, part = message()
    with Server(limits={"message": "110 MiB"}) as server:
        server.start()
        user = server.add_user("big")
        smtp = wire.Smtp(server)
        report.check(
            label, "EHLO says SIZE 115343360", any("SIZE 115343360" in line for line in smtp.offers), str(smtp.offers)
        )
        smtp.deliver([user], octets, SENDER)
        smtp.quit()
        imap = wire.Imap(server, "imaps", tls=True, user=user)
        imap.append("INBOX", octets)
        imap.select()
        stored = []
        for uid, found in imap.bodies():
            stored.append(found)
            body = compare.without_trace(found, SENDER) if len(stored) == 1 else found
            why = compare.difference(octets, body)
            report.check(
                label, f"{'SMTP' if len(stored) == 1 else 'APPEND'} in, IMAP out (UID {uid})", why is None, why
            )
        for offset, length in ((0, 1000), (77_777, 65_536), (len(part) - 500, 5000), (len(part) + 10, 10)):
            got = imap.bodies(f"BODY.PEEK[2]<{offset}.{length}>", "2")[0][1]
            why = compare.difference(part[offset : offset + length], got)
            report.check(label, f"BODY[2]<{offset}.{length}>", why is None, why)
        imap.logout()
        pop = wire.Pop3(server, "pop3s", tls=True, user=user)
        for number in (1, 2):
            why = compare.difference(stored[number - 1], pop.many(f"RETR {number}"))
            report.check(label, f"POP3 out {number}", why is None, why)
        pop.quit()
        report.messages(label, 2)
        if missing(CurlReader("imap", "tls")):
            report.leave_out(label, "curl is not installed")
        else:
            _curl(report, server, user, label, octets)
        peak = procfs.status(server.pid)["VmHWM"] / 1024
        report.check(label, f"peak memory at most {PEAK_MIB} MiB", peak <= PEAK_MIB, f"{peak:.1f} MiB")
        print(f"  peak memory {peak:.1f} MiB (budget {PEAK_MIB} MiB)")
        report.check(label, "the server lives", server.child.poll() is None, server.tail())


def _curl(report, server, user, label, octets):
    """The same by a program: in by SMTP, out by IMAP."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "mail").write_bytes(octets)
        secret_file(folder / "rc", f'user = "{user}:{server.passwords[user]}"\n')
        run(
            [
                "curl",
                "-sS",
                "--mail-from",
                SENDER,
                "--mail-rcpt",
                user,
                "-T",
                folder / "mail",
                f"smtp://localhost:{server.ports['smtp']}/client",
            ],
            folder,
        )
        run(
            [
                "curl",
                "-sS",
                "-K",
                folder / "rc",
                "--cacert",
                server.ca,
                f"imaps://localhost:{server.ports['imaps']}/INBOX;UID=3",
                "-o",
                folder / "got",
            ],
            folder,
        )
        why = compare.difference(octets, compare.without_trace((folder / "got").read_bytes(), SENDER))
        report.check(label, "curl in by SMTP, out by IMAP", why is None, why)
        report.messages(label, 1)
