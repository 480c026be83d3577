"""What programs do besides reading: take mail away over POP3 and IMAP, list, search, flag, move, delete."""

import tempfile
from pathlib import Path

from harness import compare, terminal, wire

from clients import readers
from clients.readers import missing, neomutt_settings, run, secret_file
from clients.sync import plain

COUNT = 12


def operate(report, server):
    """Each program on an account of its own."""
    takers = [
        readers.Fetchmail("pop3", "tls"),
        readers.Fetchmail("imap", "tls"),
        readers.Getmail("pop3", "tls"),
        readers.Mpop("tls"),
    ]
    for place, reader in enumerate(takers):
        reader.that_takes()
        label = f"{reader.label} takes away"
        if missing(reader):
            report.leave_out(label, missing(reader))
        else:
            report.guarded(label, _takes_away, report, server, reader, label, f"take{place}")
    for label, reader, work in (
        ("curl's IMAP commands", readers.Curl("imap", "tls"), _curl),
        ("neomutt files and deletes", readers.Neomutt(), _neomutt),
    ):
        if missing(reader):
            report.leave_out(label, missing(reader))
        else:
            report.guarded(label, work, report, server, label)
    report.guarded("names in UTF-8", _utf8, report, server)


def filled(server, name):
    """An account with a few messages, by SMTP."""
    user = server.add_user(name)
    smtp = wire.Smtp(server)
    for number in range(1, COUNT + 1):
        smtp.deliver([user], plain(number))
    smtp.quit()
    return user


def _takes_away(report, server, reader, label, name):
    """What it saved is what was there; afterwards nothing is; the next message gets a new UID."""
    user = filled(server, name)
    client = wire.Imap(server, user=user)
    client.select()
    there = client.bodies()
    with tempfile.TemporaryDirectory() as folder:
        got = reader.read(server, user, Path(folder), [uid for uid, _ in there])
    for name, why in compare.unmatched([(f"UID {uid}", reader.saved(octets)) for uid, octets in there], got):
        report.check(label, name, False, why)
    report.check(label, "it saved them all", len(got) == len(there) == COUNT, f"{len(got)} of {len(there)}")
    client.command("NOOP")
    report.check(label, "nothing is left", client.status() == 0, f"{client.status()} are left")
    uid = client.append("INBOX", plain(20))
    report.check(label, "a new UID follows the old ones", uid == max(uid for uid, _ in there) + 1, str(uid))
    client.logout()
    report.messages(label, len(got))


def _curl(report, server, label):
    """Custom requests, sections, and a mailbox made and removed."""
    user = filled(server, "curl-commands")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        secret_file(folder / "rc", f'user = "{user}:{server.passwords[user]}"\n')

        def curl(path, request=None):
            words = [
                "curl",
                "-sS",
                "-K",
                folder / "rc",
                "--cacert",
                server.ca,
                f"imaps://localhost:{server.ports['imaps']}/{path}",
            ]
            return run(words + (["-X", request] if request else []), folder).stdout

        def said(what, text, wanted):
            report.check(label, what, wanted in text, repr(text[-300:]))

        said("LIST", curl(""), b'"/" INBOX\r\n')
        said("EXAMINE", curl("INBOX", "EXAMINE INBOX"), b"* 12 EXISTS\r\n")
        said("SEARCH by subject", curl("INBOX", 'SEARCH SUBJECT "message 7"'), b"* SEARCH 7\r\n")
        said("a section by number", curl("INBOX;MAILINDEX=7;SECTION=TEXT"), b"a body of one line\r\n")
        said("a header", curl("INBOX;UID=8;SECTION=HEADER.FIELDS%20(SUBJECT)"), b"Subject: message 8\r\n\r\n")
        said("STORE", curl("INBOX", r"STORE 7 +FLAGS (\Deleted \Flagged)"), rb"\Flagged")
        said("EXPUNGE", curl("INBOX", "EXPUNGE"), b"* 7 EXPUNGE\r\n")
        curl("", "CREATE Kisten/Alt")
        said("a mailbox inside another", curl("", 'LIST "" "Kisten/*"'), b"Kisten/Alt")
        said("COPY", curl("INBOX", "COPY 1:3 Kisten/Alt") + curl("", "STATUS Kisten/Alt (MESSAGES)"), b"MESSAGES 3")
        curl("", "DELETE Kisten/Alt")
        report.check(label, "DELETE", b"Kisten/Alt" not in curl("", 'LIST "" "*"'))
    report.messages(label, COUNT)


def _neomutt(report, server, label):
    """Flags one, files one, deletes one, with keys on its screen."""
    user = filled(server, "mutt-files")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = (
            neomutt_settings(server, user, "tls", server.ports["imaps"], folder / "cache")
            + "set delete = yes\nset auto_tag = no\nset resolve = no\n"
        )
        secret_file(folder / "rc", settings)
        keys = "2<enter><flag-message>3<enter><save-message>=Archive<enter>5<enter><delete-message><sync-mailbox><quit>"
        terminal.run(["neomutt", "-n", "-F", folder / "rc", "-f", "+INBOX", "-e", f'push "{keys}"'], folder, 60)
    client = wire.Imap(server, user=user)
    client.select()
    texts = {octets.partition(b"Subject: ")[2].partition(b"\r\n")[0]: uid for uid, octets in client.bodies()}
    flags = {
        int(response[0].split(b"UID ")[1].split(b")")[0].split(b" ")[0]): response[0]
        for response in client.command("UID FETCH 1:* (UID FLAGS)")[:-1]
    }
    report.check(label, "flagged", rb"\Flagged" in flags.get(texts.get(b"message 2"), b""), repr(flags))
    report.check(label, "filed away", b"message 3" not in texts, str(list(texts)))
    report.check(label, "deleted", b"message 5" not in texts, str(list(texts)))
    client.select("Archive")
    found = client.bodies()
    report.check(
        label, "is in the Archive", len(found) == 1 and b"Subject: message 3\r\n" in found[0][1], str(len(found))
    )
    client.logout()
    report.messages(label, COUNT)


def _utf8(report, server):
    """An account and a password beyond ASCII: mail to it by SMTPUTF8 (RFC 6531), login over IMAP and POP3."""
    label = "names in UTF-8"
    user = server.add_user("jörg@example.org", "Schlüssel-für-日本")
    smtp = wire.Smtp(server)
    report.check(label, "EHLO offers SMTPUTF8", any("SMTPUTF8" in line for line in smtp.offers), str(smtp.offers))
    octets = plain(1).replace(b"Subject: message 1", "Subject: Grüße".encode())
    smtp.deliver([user], octets, "müller@example.net", " SMTPUTF8 BODY=8BITMIME")
    smtp.quit()
    client = wire.Imap(server, "imaps", tls=True)
    name, password = user.encode(), server.passwords[user].encode()
    client.command(b"LOGIN {%d+}\r\n%b {%d+}\r\n%b" % (len(name), name, len(password), password))
    client.select()
    stored = client.bodies()[0][1]
    why = compare.difference(octets, compare.without_trace(stored, "müller@example.net"))
    report.check(label, "arrives", why is None, why)
    client.logout()
    pop = wire.Pop3(server, "pop3s", tls=True, user=user)
    report.check(label, "POP3 too", pop.many("RETR 1") == stored)
    pop.quit()
    report.messages(label, 1)
