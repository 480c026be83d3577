"""Programs that download mail. Each class runs one program and says how that program itself changes what it saves.

A reader's `saved` is the model of the program, not of the server: it maps the octets the server holds to the octets the
program writes, and every deviation from the identity is named there with its reason.
"""

import imaplib
import os
import poplib
import re
import shutil
import subprocess
from pathlib import Path

from harness import terminal, wire

from clients import models
from clients.models import by_pop3, or_none, unix

RUN_S_MAX = 120


def run(words, folder, allowed=(0,), stdin=None, environment=None, user=None):
    """One run of a program, with its home in `folder` and nothing of the caller's settings; `user` only as root."""
    clean = {
        "HOME": str(folder),
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=clean | (environment or {}),
        input=stdin,
        capture_output=True,
        timeout=RUN_S_MAX,
        check=False,
        user=user,
        group=user and "nogroup",
        extra_groups=[] if user else None,
    )
    if done.returncode not in allowed:
        raise RuntimeError(
            f"{Path(str(words[0])).name} ended with {done.returncode}: "
            f"{(done.stdout + done.stderr).decode('utf-8', 'replace')[-1500:]}"
        )
    return done


def secret_file(path, text):
    """A settings file nobody else reads; the programs insist."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def maildir(folder):
    """The octets of every message in a Maildir."""
    return [path.read_bytes() for sub in ("new", "cur") for path in sorted(Path(folder, sub).iterdir())]


class Reader:
    """One way of one program to read one mailbox."""

    name = ""
    program = None  # the executable that must be there
    protocol = "imap"

    keep = True  # whether the mail stays on the server

    def __init__(self, security="tls"):
        self.security = security

    def that_takes(self):
        """The same program set to take the mail away."""
        self.keep = False
        return self

    @property
    def label(self):
        """What the table calls it."""
        return f"{self.name} {self.protocol}{ {'tls': 's', 'starttls': '+starttls', 'plain': ''}[self.security] }"

    def port(self, server):
        """The port for this protocol and security."""
        return server.ports[self.protocol + ("s" if self.security == "tls" else "")]

    def read(self, server, user, folder, uids):
        """Everything in the INBOX of `user`, as a list of octets."""
        raise NotImplementedError

    def served(self, octets):
        """What this reader's protocol carries of a message."""
        return octets if self.protocol == "imap" else by_pop3(octets)

    def saved(self, octets):
        """What this program makes of these octets; None when it saves nothing of them."""
        return self.served(octets)

    def may_skip(self, _octets):
        """Whether the program may save nothing of these octets, or them as `saved` says."""
        return False


class Curl(Reader):
    """curl, one URL per message on one connection."""

    name, program = "curl", "curl"

    def __init__(self, protocol, security):
        super().__init__(security)
        self.protocol = protocol

    def read(self, server, user, folder, uids):
        scheme = self.protocol + ("s" if self.security == "tls" else "")
        numbers = ",".join(map(str, uids if self.protocol == "imap" else range(1, len(uids) + 1)))
        place = f"INBOX;UID={{{numbers}}}" if self.protocol == "imap" else f"{{{numbers}}}"
        words = ["curl", "-sS", "--cacert", server.ca, "-u", f"{user}:{server.passwords[user]}"]
        words += ["--ssl-reqd"] if self.security == "starttls" else []
        run([*words, f"{scheme}://{server.host}:{self.port(server)}/{place}", "-o", folder / "#1"], folder)
        return [
            Path(folder, number).read_bytes() if Path(folder, number).exists() else b"" for number in numbers.split(",")
        ]

    def saved(self, octets):
        return octets if self.protocol == "imap" else models.by_crlf_lines(by_pop3(octets))


class Mbsync(Reader):
    """mbsync (isync) into a Maildir."""

    name, program = "mbsync", "mbsync"

    def read(self, server, user, folder, uids):
        secret_file(
            folder / "rc",
            mbsync_settings(server, user, folder, self.security, self.port(server), "Patterns INBOX\nSync Pull\n"),
        )
        run(["mbsync", "-c", folder / "rc", "-q", "all"], folder)
        return [
            re.sub(rb"(?m)\AX-TUID: .{12}\n|(?<=\n)X-TUID: .{12}\n", b"", octets, count=1)
            for octets in maildir(folder / "INBOX")
        ]

    def saved(self, octets):
        return models.mbsync(octets)


def mbsync_settings(server, user, folder, security, port, channel):
    """A complete mbsyncrc for one account and one Maildir tree."""
    kind = {"tls": "IMAPS", "starttls": "STARTTLS", "plain": "None"}[security]
    return (
        f"IMAPAccount far\nHost {server.host}\nPort {port}\nUser {user}\nPass {server.passwords[user]}\n"
        f"SSLType {kind}\n"
        f"SystemCertificates no\nCertificateFile {server.ca}\nTimeout 30\n\nIMAPStore far\nAccount far\n\n"
        f"MaildirStore near\nPath {folder}/\nInbox {folder}/INBOX\nSubFolders Verbatim\n\n"
        f"Channel all\nFar :far:\nNear :near:\nSyncState *\nCreate Both\nRemove Both\n{channel}"
    )


class OfflineImap(Reader):
    """offlineimap into a Maildir."""

    name, program = "offlineimap", "offlineimap"

    def read(self, server, user, folder, uids):
        settings = offlineimap_settings(
            server, user, folder, self.security, self.port(server), "folderfilter = lambda name: name == 'INBOX'\n"
        )
        secret_file(folder / "rc", settings)
        run(["offlineimap", "-c", folder / "rc", "-o", "-u", "basic", "-1"], folder)
        return maildir(folder / "mail" / "INBOX")

    def saved(self, octets):
        return or_none(models.offlineimap, octets)


def offlineimap_settings(server, user, folder, security, port, remote=""):
    """A complete offlineimaprc for one account and one Maildir tree."""
    ssl = {"tls": "ssl = yes", "starttls": "ssl = no\nstarttls = yes", "plain": "ssl = no\nstarttls = no"}[security]
    return (
        f"[general]\naccounts = all\nmetadata = {folder}/metadata\nsocktimeout = 30\n[Account all]\n"
        f"localrepository = near\n"
        f"remoterepository = far\n[Repository near]\ntype = Maildir\nlocalfolders = {folder}/mail\nsep = /\n"
        f"[Repository far]\ntype = IMAP\nremotehost = {server.host}\nremoteport = {port}\n{ssl}\n"
        f"sslcacertfile = {server.ca}\n"
        f"remoteuser = {user}\nremotepass = {server.passwords[user]}\nauth_mechanisms = PLAIN, LOGIN\n{remote}"
    )


class Fetchmail(Reader):
    """fetchmail, handing each message to a program that keeps it."""

    name, program = "fetchmail", "fetchmail"

    def __init__(self, protocol, security):
        super().__init__(security)
        self.protocol = protocol

    def read(self, server, user, folder, uids):
        keep = folder / "keep"
        keep.write_text('#!/bin/sh\nexec cat > "$(mktemp "$HOME/mail.XXXXXXXX")"\n', encoding="ascii")
        keep.chmod(0o700)
        ssl = {"tls": "ssl", "starttls": "sslproto 'TLS1.2+'", "plain": "sslproto ''"}[self.security]
        check = "" if self.security == "plain" else f"sslcertck sslcertfile '{server.ca}'"
        secret_file(
            folder / "rc",
            f"set invisible\nset no bouncemail\n"
            f"poll {server.host} service {self.port(server)} protocol {self.protocol} "
            f"bad-header accept\nuser '{user}' password '{server.passwords[user]}' {ssl} {check} "
            f"{'keep' if self.keep else 'no keep'} fetchall no rewrite no mimedecode "
            f"no dropstatus mda '{keep}'\n",
        )
        run(
            [
                "fetchmail",
                "-f",
                folder / "rc",
                "--pidfile",
                folder / "pid",
                "-i",
                folder / "ids",
                "-N",
                "--nosyslog",
                "-s",
            ],
            folder,
        )
        saved = [path.read_bytes() for path in sorted(folder.glob("mail.*"))]
        return [octets for octets in saved if not octets.startswith(b"From: FETCHMAIL-DAEMON\n")]  # see its model

    def saved(self, octets):
        return models.fetchmail(self.served(octets), self.protocol == "imap")


class Getmail(Reader):
    """getmail6 into a Maildir."""

    name, program = "getmail", "getmail"

    def __init__(self, protocol, security):
        super().__init__(security)
        self.protocol = protocol

    def read(self, server, user, folder, uids):
        for sub in ("new", "cur", "tmp"):
            (folder / "mail" / sub).mkdir(parents=True)
        kind = f"Simple{self.protocol.upper()}{'SSL' if self.security == 'tls' else ''}Retriever"
        shutil.copy(server.ca, folder / "ca.pem")
        certificate = f"ca_certs = {folder}/ca.pem\n" if self.security == "tls" else ""
        secret_file(
            folder / "rc",
            f"[retriever]\ntype = {kind}\nserver = {server.host}\nport = {self.port(server)}\nusername = {user}\n"
            f"password = {server.passwords[user]}\n{certificate}[destination]\ntype = Maildir\npath = {folder}/mail/\n"
            f"[options]\ndelivered_to = false\nreceived = false\nread_all = true\n"
            f"delete = {'false' if self.keep else 'true'}\nverbose = 0\n",
        )
        shutil.copy(Path(__file__).parent / "getmail_patient.py", folder)
        user = "nobody" if os.geteuid() == 0 else None  # it refuses to work as root
        if user:
            for path in [folder, *folder.rglob("*")]:
                shutil.chown(path, user)
        patient = ["/usr/bin/python3", folder / "getmail_patient.py"]
        run([*patient, f"--getmaildir={folder}", f"--rcfile={folder}/rc"], folder, user=user)
        return maildir(folder / "mail")

    def saved(self, octets):
        return or_none(models.getmail, self.served(octets), self.protocol == "pop3")


class Mpop(Reader):
    """mpop into a Maildir."""

    name, program, protocol = "mpop", "mpop", "pop3"

    def read(self, server, user, folder, uids):
        for sub in ("new", "cur", "tmp"):
            (folder / "mail" / sub).mkdir(parents=True)
        tls = {"tls": "tls on\ntls_starttls off\n", "starttls": "tls on\ntls_starttls on\n", "plain": "tls off\n"}[
            self.security
        ]
        trust = "" if self.security == "plain" else f"tls_trust_file {server.ca}\n"
        secret_file(
            folder / "rc",
            f"account default\nhost {server.host}\nport {self.port(server)}\nuser {user}\n"
            f"password {server.passwords[user]}\n"
            f"{tls}{trust}delivery maildir {folder}/mail\nuidls_file {folder}/ids\n"
            f"keep {'on' if self.keep else 'off'}\nreceived_header off\nauth plain\n",
        )
        run(["mpop", "-q", "-C", folder / "rc"], folder)
        return maildir(folder / "mail")

    def saved(self, octets):
        return unix(self.served(octets))


class Neomutt(Reader):
    """neomutt driven by keys on a terminal of its own; its message cache holds what it fetched."""

    name, program = "neomutt", "neomutt"

    def read(self, server, user, folder, uids):
        cache = folder / "cache"
        cache.mkdir()
        secret_file(folder / "rc", neomutt_settings(server, user, self.security, self.port(server), cache))
        keys = f"<tag-pattern>~A<enter><tag-prefix><copy-message>{folder}/copies<enter><quit>"
        terminal.run(["neomutt", "-n", "-F", folder / "rc", "-f", "+INBOX", "-e", f'push "{keys}"'], folder, RUN_S_MAX)
        return [
            path.read_bytes()
            for path in sorted(cache.rglob("*"))
            if path.is_file() and re.fullmatch(r"\d+-\d+", path.name)
        ]

    def saved(self, octets):
        return unix(octets)

    def may_skip(self, octets):
        # Its cache keeps no file for a message without a line of a body.
        return not models.body_has_a_line(octets)


def neomutt_settings(server, user, security, port, cache):
    """Settings under which neomutt asks nothing."""
    scheme = "imaps" if security == "tls" else "imap"
    force = "no" if security == "plain" else "yes"
    return (
        f'set imap_user = "{user}"\nset imap_pass = "{server.passwords[user]}"\n'
        f'set folder = "{scheme}://{server.host}:{port}/"\n'
        f'set ssl_starttls = {force}\nset ssl_force_tls = {force}\nset certificate_file = "{server.ca}"\n'
        f'set message_cachedir = "{cache}"\n'
        "set confirmappend = no\nset quit = yes\nset copy = no\nset sleep_time = 0\nset move = no\n"
        "set mark_old = no\nset wait_key = no\n"
        "set mail_check = 3600\nset imap_peek = yes\nset abort_nosubject = no\nset abort_unmodified = no\n"
        "set confirmcreate = no\n"
    )


class Imaplib(Reader):
    """Python's imaplib."""

    name = "imaplib"

    def read(self, server, user, folder, uids):
        context = wire.context(server)
        if self.security == "tls":
            client = imaplib.IMAP4_SSL(server.host, self.port(server), ssl_context=context)
        else:
            client = imaplib.IMAP4(server.host, self.port(server))
        with client:
            if self.security == "starttls":
                client.starttls(context)
            client.login(user, server.passwords[user])
            client.select("INBOX", readonly=True)
            _, data = client.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
            return [item[1] for item in data if isinstance(item, tuple)]


class ImapClient(Reader):
    """IMAPClient from PyPI; it also parses ENVELOPE and BODYSTRUCTURE of everything."""

    name = "imapclient"

    def read(self, server, user, folder, uids):
        import imapclient  # a package of the tests' own environment; missing() looked before

        client = imapclient.IMAPClient(
            server.host, self.port(server), ssl=self.security == "tls", ssl_context=wire.context(server)
        )
        if self.security == "starttls":
            client.starttls(wire.context(server))
        client.login(user, server.passwords[user])
        client.select_folder("INBOX", readonly=True)
        found = client.fetch(uids, ["BODY.PEEK[]", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "FLAGS"])
        client.logout()
        for uid, item in found.items():
            if item[b"RFC822.SIZE"] != len(item[b"BODY[]"]):
                raise RuntimeError(f"UID {uid}: RFC822.SIZE {item[b'RFC822.SIZE']}, body of {len(item[b'BODY[]'])}")
            if item[b"ENVELOPE"] is None or item[b"BODYSTRUCTURE"] is None:
                raise RuntimeError(f"UID {uid}: no ENVELOPE or no BODYSTRUCTURE")
        return [item[b"BODY[]"] for item in found.values()]


class Poplib(Reader):
    """Python's poplib."""

    name, protocol = "poplib", "pop3"

    def read(self, server, user, folder, uids):
        poplib._MAXLINE = 4 << 20  # its own limit of 2,048 octets a line is below what mail holds
        context = wire.context(server)
        if self.security == "tls":
            client = poplib.POP3_SSL(server.host, self.port(server), context=context, timeout=60)
        else:
            client = poplib.POP3(server.host, self.port(server), timeout=60)
        if self.security == "starttls":
            client.stls(context)
        client.user(user)
        client.pass_(server.passwords[user])
        count, _ = client.stat()
        found = []
        for number in range(1, count + 1):
            found.append(b"".join(line + b"\r\n" for line in client.retr(number)[1]))
        client.quit()
        return found

    def saved(self, octets):
        return models.by_lines(self.served(octets))


def missing(reader):
    """Why a reader cannot run here, or None."""
    if isinstance(reader, ImapClient):
        try:
            import imapclient  # noqa: F401
        except ImportError:
            return "imapclient is not installed (PyPI)"
    if (
        reader.program
        and subprocess.run(["sh", "-c", f"command -v {reader.program}"], capture_output=True, check=False).returncode
        != 0
    ):
        return f"{reader.program} is not installed"
    return None


def readers():
    """Every program with the securities it is tried under."""
    return [
        Curl("imap", "tls"),
        Curl("imap", "starttls"),
        Curl("imap", "plain"),
        Curl("pop3", "tls"),
        Curl("pop3", "starttls"),
        Mbsync("tls"),
        Mbsync("starttls"),
        OfflineImap("tls"),
        OfflineImap("starttls"),
        Fetchmail("pop3", "tls"),
        Fetchmail("imap", "starttls"),
        Getmail("pop3", "tls"),
        Getmail("imap", "tls"),
        Mpop("tls"),
        Mpop("starttls"),
        Neomutt("tls"),
        Neomutt("starttls"),
        Imaplib("tls"),
        Imaplib("starttls"),
        ImapClient("tls"),
        ImapClient("starttls"),
        Poplib("tls"),
        Poplib("starttls"),
    ]
