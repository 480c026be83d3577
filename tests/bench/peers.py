"""The servers that are measured, all alike to the measurement: Pigeon, and the others as Debian ships them, with mail in Maildir."""

import os
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path

from harness import wire
from harness.server import DOMAIN, Server, free_ports

USERS = [f"user{number}@{DOMAIN}" for number in range(10)]
PASSWORD = "bench-of-mail-7"
START_S_MAX = 30


class Pigeon:
    """Pigeon, its data on the volume."""

    name = "Pigeon"
    has_smtp = True

    def __init__(self, folder, volume, group):
        limits = {"connections_per_ip": 1000, "connections": 2000}
        self.server = Server(folder=volume, hostname="localhost", limits=limits, group=group.places)
        self.server.log = Path(folder, "server.log")
        self.server.data.mkdir()
        for user in USERS:
            self.server.add_user(user, PASSWORD)
        self.ports, self.passwords, self.host = self.server.ports, self.server.passwords, self.server.host

    @property
    def tls_context(self):
        """Trusts its CA."""
        return ssl.create_default_context(cafile=str(self.server.ca))

    def start(self):
        """Starts it; the seconds to its greeting."""
        self.server.start()
        return self.server.first_greeting_s

    def segments(self):
        """The names of its log's files."""
        return {path.name for path in (self.server.data / "log").iterdir()}

    def kill(self):
        """kill -9."""
        self.server.kill()

    def stop(self):
        """Ends it."""
        self.server.stop()


class Dovecot:
    """Dovecot's IMAP; with `has_smtp`, Postfix before it, which hands it mail by LMTP."""

    def __init__(self, folder, volume, group, has_smtp):
        self.folder, self.volume, self.group, self.has_smtp = Path(folder), Path(volume), group, has_smtp
        self.name = "Postfix + Dovecot" if has_smtp else "Dovecot"
        self.host = "localhost"
        self.ports = dict(zip(("smtp", "imap", "imaps"), free_ports(3)))
        self.passwords = dict.fromkeys(USERS, PASSWORD)
        self.masters = []
        self.tls_context = ssl.create_default_context()
        self.tls_context.check_hostname = False
        self.tls_context.verify_mode = ssl.CERT_NONE
        for name in ("dovecot", "postfix", "log", "run"):
            self.folder.joinpath(name).mkdir(parents=True)
        self._certificate()
        self._dovecot()
        if has_smtp:
            self._postfix()

    def _certificate(self):
        subject = ["-subj", "/CN=localhost", "-days", "30", "-nodes"]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        files = ["-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"]
        subprocess.run(["openssl", "req", "-x509", *curve, *files, *subject], check=True, capture_output=True)

    def _dovecot(self):
        mail = self.volume / "mail"
        mail.mkdir()
        shutil.chown(mail, "mail", "mail")
        users = "".join(f"{user}:{{PLAIN}}{PASSWORD}\n" for user in USERS)
        (self.folder / "dovecot/users").write_text(users, encoding="ascii")
        lmtp = f"""
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
"""
        (self.folder / "dovecot/dovecot.conf").write_text(
            f"""base_dir = {self.folder}/run
state_dir = {self.folder}/run
instance_name = pigeon-bench
log_path = {self.folder}/log/dovecot.log
protocols = imap{" lmtp" if self.has_smtp else ""}
listen = 127.0.0.1
ssl = yes
ssl_cert = <{self.folder}/cert.pem
ssl_key = <{self.folder}/key.pem
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 2000
default_client_limit = 4096
passdb {{
  driver = passwd-file
  args = {self.folder}/dovecot/users
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={mail}/%n
}}
service imap-login {{
  process_limit = 1100
  inet_listener imap {{
    port = {self.ports["imap"]}
  }}
  inet_listener imaps {{
    port = {self.ports["imaps"]}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 1100
}}
{lmtp if self.has_smtp else ""}""",
            encoding="ascii",
        )

    def _postfix(self):
        for name, owner in (("spool", "root"), ("library", "postfix")):
            place = self.volume / name
            place.mkdir()
            shutil.chown(place, owner)
        virtual = "".join(f"{user} {user}\n" for user in USERS)
        (self.folder / "postfix/users").write_text(virtual, encoding="ascii")
        (self.folder / "postfix/main.cf").write_text(
            f"""compatibility_level = 3.6
queue_directory = {self.volume}/spool
data_directory = {self.volume}/library
maillog_file = {self.folder}/log/postfix.log
maillog_file_prefixes = {self.folder}/log
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = localhost
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = texthash:{self.folder}/postfix/users
virtual_transport = lmtp:unix:{self.folder}/run/lmtp
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
""",
            encoding="ascii",
        )
        services = [f"127.0.0.1:{self.ports['smtp']} inet n - n - - smtpd"]
        services += ["cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "pickup unix n - n 60 1 pickup"]
        services += [f"{name} unix - - n - 0 bounce" for name in ("bounce", "defer")]
        services += ["rewrite unix - - n - - trivial-rewrite", "trace unix - - n - 0 bounce", "lmtp unix - - n - - lmtp"]
        services += ["proxymap unix - - n - - proxymap", "anvil unix - - n - 1 anvil", "error unix - - n - - error"]
        services += ["retry unix - - n - - error", "showq unix n - n - - showq", "postlog unix-dgram n - n - 1 postlogd"]
        (self.folder / "postfix/master.cf").write_text("\n".join(services) + "\n", encoding="ascii")

    def start(self):
        """Starts them; the seconds to the last greeting."""
        started = time.perf_counter()
        self._run("dovecot", "-c", self.folder / "dovecot/dovecot.conf")
        self.masters = [self._master(self.folder / "run/master.pid")]
        if self.has_smtp:
            self._run("postfix", "-c", self.folder / "postfix", "start")
            self.masters.append(self._master(self.volume / "spool/pid/master.pid"))
        for port in ("imap", "smtp") if self.has_smtp else ("imap",):
            self._greets(port)
        return time.perf_counter() - started

    def _run(self, *words):
        # Anonymous pipes would be inherited by the daemons and never end.
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(words, check=True, preexec_fn=self.group.enter, **quiet)

    def _master(self, path):
        until = time.monotonic() + START_S_MAX
        while time.monotonic() < until:
            if path.exists() and path.read_text(encoding="ascii").strip():
                return int(path.read_text(encoding="ascii"))
            time.sleep(0.01)
        raise RuntimeError(f"{self.name} did not start: {path} is missing")

    def _greets(self, port):
        until = time.monotonic() + START_S_MAX
        while time.monotonic() < until:
            try:
                line = wire.Lines(wire.dial(self, port))
                line.line()
                line.close()
                return
            except OSError:
                time.sleep(0.005)
        raise RuntimeError(f"{self.name} does not greet on {port}")

    def segments(self):
        """It has none."""
        return set()

    def kill(self):
        """kill -9 of all processes."""
        self._signal(signal.SIGKILL)
        (self.folder / "run/master.pid").unlink(missing_ok=True)

    def stop(self):
        """Ends them: the masters, and whoever of their group outlives them."""
        for pid in self.masters:
            os.kill(pid, signal.SIGTERM)
        self._gone(10) or self._signal(signal.SIGKILL)

    def _signal(self, number):
        for _ in range(20):
            for pid in self.group.pids():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            if self._gone(1):
                return

    def _gone(self, seconds):
        until = time.monotonic() + seconds
        while self.group.pids():
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True
