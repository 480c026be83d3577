"""Sync both ways: mbsync and offlineimap carry flags, deletions, mail and folders between a Maildir tree and us."""

import re
import tempfile
from pathlib import Path

from harness import wire

from clients.models import unix
from clients.readers import Mbsync, OfflineImap, mbsync_settings, missing, offlineimap_settings, run, secret_file

FLAGS = {"S": "\\Seen", "F": "\\Flagged", "R": "\\Answered", "D": "\\Draft", "T": "\\Deleted"}
# Modified UTF-7 (RFC 3501 section 5.1.3): "Entwürfe" and "日本語" as the wire and these programs' folders spell them.
UMLAUT, JAPANESE, DEEP, NEW_HERE, NEW_THERE = (
    "Entw&APw-rfe",
    "&ZeVnLIqe-",
    "Projekte/2025/Brett",
    "von&AKA-hier",
    "von&AKA-dort",
)


def plain(number, text="a body of one line"):
    """A message no program changes."""
    return (
        f"From: sender@example.net\r\nTo: sync@example.org\r\nSubject: message {number}\r\n"
        f"Date: Mon, 06 Jan 2025 10:{number:02d}:00 +0000\r\n"
        f"Message-ID: <sync.{number}@example.net>\r\n\r\n{text}\r\n"
    ).encode()


def on_server(server, user):
    """What the server holds: folder to a sorted list of (flags, octets with Unix line ends)."""
    client = wire.Imap(server, user=user)
    names = []
    for response in client.command('LIST "" "*"'):
        match = re.match(rb'\* LIST \(([^)]*)\) "/" (.+)', response[0])
        if match and b"\\noselect" not in match[1].lower() and b"\\nonexistent" not in match[1].lower():
            names.append((response[1] if len(response) > 1 else match[2].strip(b'"')).decode())
    state = {}
    for name in names:
        client.command(f'EXAMINE "{name}"')
        found = []
        for response in client.command("FETCH 1:* (FLAGS BODY.PEEK[])") if client_exists(client, name) else []:
            if len(response) < 2:
                continue
            joined = b" ".join(part for place, part in enumerate(response) if place % 2 == 0).decode()
            words = re.search(r"FLAGS \(([^)]*)\)", joined)[1].split()
            letters = "".join(sorted(letter for letter, flag in FLAGS.items() if flag in words))
            found.append((letters, without_tuid(unix(response[1]))))
        state[name] = sorted(found)
    client.logout()
    return state


def without_tuid(octets):
    """mbsync marks what it copies, up and down, with one header line of its own."""
    return re.sub(rb"(?m)^X-TUID: .{12}\n", b"", octets, count=1)


def client_exists(client, name):
    """Whether a mailbox holds messages."""
    return client.status(name) > 0


def on_disk(top, inbox):
    """The same of a Maildir tree."""
    state = {}
    for cur in sorted(Path(top).rglob("cur")):
        folder = cur.parent
        name = "INBOX" if folder == Path(inbox) else str(folder.relative_to(top))
        found = []
        for path in [*cur.iterdir(), *(folder / "new").iterdir()]:
            letters = path.name.partition(":2,")[2]
            octets = without_tuid(path.read_bytes())
            found.append(("".join(sorted(letter for letter in letters if letter in FLAGS)), octets))
        state[name] = sorted(found)
    return state


def same(report, label, what, here, there):
    """Both sides hold the same folders with the same messages and flags."""
    for name in sorted(set(here) | set(there)):
        if name in here and name in there:
            differing = [pair for pair in zip(here[name], there[name]) if pair[0] != pair[1]][:1]
            report.check(
                label,
                f"{what}: {name}",
                here[name] == there[name],
                f"{len(here[name])} here, {len(there[name])} on the server, first difference {differing}",
            )
        else:
            side = "here" if name in here else "on the server"
            report.check(
                label, f"{what}: {name}", not (here.get(name) or there.get(name)) and _special(name), f"only {side}"
            )


def _special(name):
    """An empty standard folder may wait for its first message on one side."""
    return name in ("Drafts", "Sent", "Junk", "Trash", "Archive")


def sync(report, server):
    """Each program with an account of its own."""
    for kind, go, where in ((Mbsync(), _mbsync, ""), (OfflineImap(), _offlineimap, "mail")):
        label = f"{kind.name} both ways"
        if missing(kind):
            report.leave_out(label, missing(kind))
            continue
        report.guarded(label, _both_ways, report, server, label, go, where)


def _mbsync(server, user, folder):
    (folder / "mail").mkdir(exist_ok=True)
    settings = mbsync_settings(
        server, user, folder / "mail", "tls", server.ports["imaps"], "Patterns *\nExpunge Both\n"
    )
    secret_file(folder / "rc", settings.replace("SyncState *", f"SyncState {folder}/state/"))
    (folder / "state").mkdir(exist_ok=True)
    run(["mbsync", "-c", folder / "rc", "-q", "all"], folder)


def _offlineimap(server, user, folder):
    secret_file(folder / "rc", offlineimap_settings(server, user, folder, "tls", server.ports["imaps"]))
    run(["offlineimap", "-c", folder / "rc", "-o", "-u", "basic", "-1"], folder)


def _both_ways(report, server, label, go, _where):
    user = server.add_user(label.split()[0] + "-both")
    client = wire.Imap(server, user=user)
    for name in (UMLAUT, JAPANESE, DEEP):
        client.command(f'CREATE "{name}"')
    for number in range(1, 11):
        client.append("INBOX", plain(number), "\\Seen" if number % 3 == 0 else "")
    for place, name in enumerate((UMLAUT, JAPANESE, DEEP)):
        client.append(name, plain(20 + place), "\\Flagged")
    report.messages(label, 13)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        mail, inbox = folder / "mail", folder / "mail" / "INBOX"

        go(server, user, folder)
        same(report, label, "first sync", on_disk(mail, inbox), on_server(server, user))

        # Changes here: seen, flagged, answered; one deleted; one new message; one new folder with a message.
        marked = _find(inbox, plain(1)), _find(inbox, plain(2))
        _mark(marked[0], "S")
        _mark(marked[1], "FRS")
        if label.startswith("mbsync"):
            _mark(_find(inbox, plain(4)), "T")
        else:
            _find(inbox, plain(4)).unlink()
        (inbox / "cur" / "new-here.1:2,S").write_bytes(unix(plain(30)))
        for sub in ("cur", "new", "tmp"):
            (mail / NEW_HERE / sub).mkdir(parents=True)
        (mail / NEW_HERE / "cur" / "new-here.2:2,").write_bytes(unix(plain(31)))
        go(server, user, folder)
        there = on_server(server, user)
        texts = {octets: letters for letters, octets in there["INBOX"]}
        report.check(label, "seen here is seen there", texts.get(unix(plain(1))) == "S", str(texts.get(unix(plain(1)))))
        report.check(
            label, "three flags here are there", texts.get(unix(plain(2))) == "FRS", str(texts.get(unix(plain(2))))
        )
        report.check(label, "deleted here is gone there", unix(plain(4)) not in texts)
        report.check(label, "new here is there", unix(plain(30)) in texts)
        report.check(
            label, "a folder made here is there", NEW_HERE in there and len(there[NEW_HERE]) == 1, str(list(there))
        )
        same(report, label, "after changes here", on_disk(mail, inbox), there)

        # Changes there: flags, an expunge, a new message, a new folder, a message moved.
        client.select("INBOX")
        client.command("STORE 1 +FLAGS (\\Flagged)")
        client.command("STORE 2 -FLAGS (\\Answered \\Seen)")
        client.command("STORE 5 +FLAGS (\\Deleted)")
        client.command("EXPUNGE")
        client.command(f'CREATE "{NEW_THERE}"')
        client.append(NEW_THERE, plain(40))
        client.append("INBOX", plain(41, "a line with dots\r\n..\r\n.\r\n.. and ends"))
        client.command(f'MOVE 3 "{UMLAUT}"')
        client.command(f'COPY 1 "{JAPANESE}"')
        go(server, user, folder)
        same(report, label, "after changes there", on_disk(mail, inbox), on_server(server, user))

        # Both at once, and then a round with nothing to do changes nothing.
        client.append("INBOX", plain(50))
        (inbox / "cur" / "new-here.3:2,F").write_bytes(unix(plain(51)))
        go(server, user, folder)
        go(server, user, folder)
        before = on_server(server, user)
        same(report, label, "after changes on both sides", on_disk(mail, inbox), before)
        go(server, user, folder)
        report.check(label, "a round with nothing to do changes nothing", on_server(server, user) == before)
    client.logout()


def _find(folder, octets):
    """The file in a Maildir that holds this message."""
    subject = re.search(rb"Message-ID: <[^>]*>", octets)[0]
    for sub in ("cur", "new"):
        for path in (folder / sub).iterdir():
            if subject in path.read_bytes():
                return path
    raise RuntimeError(f"{subject!r} is not in {folder}")


def _mark(path, letters):
    """Gives a Maildir message exactly these flags."""
    path.rename(path.parent.parent / "cur" / f"{path.name.partition(':2,')[0]}:2,{letters}")
