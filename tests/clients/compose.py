"""neomutt in batch mode composes a letter with attachments and sends it as its user."""

import email
import email.policy
import random
import tempfile
from pathlib import Path

from harness import wire

from clients.readers import Neomutt, missing, neomutt_settings, run, secret_file

TEXT = "Guten Tag,\n\nGrüße aus Köln: 日本語, ₤ and a line with a dot:\n.\n..\nFrom here on, nothing.\n-- \nme\n"
SUBJECT = "Überraschung aus 東京, with a subject long enough that it has to be folded somewhere in the middle"


def compose(report, server):
    """What it meant is what arrives."""
    label = "neomutt composes"
    if missing(Neomutt()):
        report.leave_out(label, missing(Neomutt()))
        return
    for security, scheme, port in (("tls", "smtps", "submissions"), ("starttls", "smtp", "submission")):
        sender, recipient = server.add_user(f"mutt-{port}"), server.add_user(f"mutt-to-{port}")
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            blob, mail = random.Random(1).randbytes(300_001), folder / "letter.eml"
            (folder / "Bild ü.bin").write_bytes(blob)
            mail.write_bytes(b"From: a@example.net\r\nSubject: inside\r\n\r\nThe inner letter.\r\n")
            imap_port = server.ports["imaps" if security == "tls" else "imap"]
            settings = neomutt_settings(server, sender, security, imap_port, folder / "cache")
            user = sender.replace("@", "%40")  # within a URL
            settings += (
                f'set smtp_url = "{scheme}://{user}@{server.host}:{server.ports[port]}"\n'
                f'set smtp_pass = "{server.passwords[sender]}"\n'
                f'set from = "{sender}"\nset use_from = yes\nset use_envelope_from = yes\nset charset = "utf-8"\n'
                'set send_charset = "us-ascii:utf-8"\nset hostname = "client.example.net"\n'
            )
            secret_file(folder / "rc", settings)
            run(
                [
                    "neomutt",
                    "-n",
                    "-F",
                    folder / "rc",
                    "-s",
                    SUBJECT,
                    "-a",
                    folder / "Bild ü.bin",
                    mail,
                    "--",
                    recipient,
                ],
                folder,
                stdin=TEXT.encode(),
            )
        report.messages(label, 1)
        client = wire.Imap(server, user=recipient)
        client.select()
        found = client.bodies()
        client.logout()
        if report.check(label, f"{security}: one message", len(found) == 1, f"{len(found)} there"):
            _check(report, label, security, found[0][1], blob)


def _check(report, label, place, octets, blob):
    """Subject, text and attachments as they were meant."""
    message = email.message_from_bytes(octets, policy=email.policy.default)
    parts = [part for part in message.walk() if not part.is_multipart() or part.get_content_type() == "message/rfc822"]
    report.check(label, f"{place}: subject", message["Subject"] == SUBJECT, repr(message["Subject"]))
    report.check(
        label, f"{place}: text", parts[0].get_content().replace("\r\n", "\n") == TEXT, repr(parts[0].get_content())
    )
    report.check(
        label,
        f"{place}: attachment",
        parts[1].get_content() == blob and parts[1].get_filename() == "Bild ü.bin",
        str(parts[1].get_filename()),
    )
    report.check(
        label, f"{place}: letter inside", parts[2].get_content()["Subject"] == "inside", parts[2].get_content_type()
    )
