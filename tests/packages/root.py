"""A Debian root to try packages in: made once by debootstrap, a fresh layer on it for each part."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import mails, wire
from harness.server import ROOT

CODENAME = "bookworm"
BASE = ROOT / "target" / "tests" / f"root-{CODENAME}"
INSIDE = ["systemd", "systemd-sysv"]
# The machine's name as Debian's installer writes it: the package must find the whole of it.
HOST, NAME = "box", "box.example.org"
SENDER = "sender@example.net"


def mirror():
    """Where this machine has Debian from."""
    done = subprocess.run([ROOT / "cross" / "mirror", CODENAME], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def make_base():
    """The root, if it is not there from an earlier run."""
    if BASE.exists():
        return
    made = BASE.with_suffix(".new")
    shutil.rmtree(made, ignore_errors=True)
    words = ["debootstrap", "--variant=minbase", f"--include={','.join(INSIDE)}", CODENAME, made, mirror()]
    subprocess.run(words, check=True, timeout=900, stdout=subprocess.DEVNULL)
    made.rename(BASE)


class Root:
    """A layer on the root, gone at the end; runs in mount and network namespaces of its own."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="pigeon-root-"))
        self.path = self.folder / "root"
        self.passwords = {}
        self.program = ["pigeon"]
        self.host = NAME
        self.ports = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}

    @property
    def data(self):
        """Where the mail is."""
        return self.path / "var/lib/pigeon"

    @property
    def ca(self):
        """The certificate authority that the server made."""
        return self.data / "tls" / "ca.pem"

    def __enter__(self):
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir()
        options = f"lowerdir={BASE},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        # An overlay cannot be the upper layer of another, which /tmp may be in a container.
        subprocess.run(["mount", "-t", "tmpfs", "pigeon-test", self.folder], check=True)
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir()
        subprocess.run(["mount", "-t", "overlay", "pigeon-test", "-o", options, self.path], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["hostname", HOST], check=True)
        (self.path / "etc/hostname").write_text(f"{HOST}\n")
        (self.path / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {NAME} {HOST}\n::1 localhost\n")
        return self

    def __exit__(self, kind, value, trace):
        subprocess.run(["umount", "-R", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def emulate(self, program, *options):
        """The package is of another architecture: its program runs in a static qemu."""
        shutil.copy(shutil.which(program), self.path / "usr/local/bin")
        self.program = [program, *options, "/usr/bin/pigeon"]

    def run(self, *words, text="", wrap=(), good=(0,)):
        """A program in the root; what it says."""
        if words[0] == "pigeon":
            words = [*self.program, *words[1:]]
        command = [*(wrap or ["chroot", self.path]), *words]
        environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=environment, timeout=300, check=False
        )
        if good and done.returncode not in good:
            raise RuntimeError(f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def add_user(self, name, wrap=()):
        """An account, by the verb that root runs."""
        address = f"{name}@{NAME}"
        self.passwords[address] = "four friendly pigeons"
        self.run("pigeon", "user", "add", address, "--password-stdin", text=f"{self.passwords[address]}\n", wrap=wrap)
        return address

    def strangers(self):
        """Files in the data directory that are not the server's user's."""
        owner = self.data.stat().st_uid
        return [str(path) for path in self.data.rglob("*") if path.lstat().st_uid != owner]

    def await_greeting(self, port=25):
        """Waits until the server greets."""
        end = time.monotonic() + 60
        while True:
            try:
                wire.dial(self, next(name for name, one in self.ports.items() if one == port)).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def carry(self, report, label, user, number):
        """One mail in by SMTP and read by IMAPS and POP3S."""
        octets = mails.typical(number, 3000, to=user, message_id=f"m{number}@pack.example")
        smtp = wire.Smtp(self)
        report.check(label, "the greeting has the machine's whole name", NAME in str(smtp.offers), smtp.offers)
        smtp.deliver([user], octets, SENDER)
        imap = wire.Imap(self, "imaps", tls=True, user=user)
        imap.select()
        report.check(label, f"mail {number} is read over IMAPS", any(octets in got for _, got in imap.bodies()))
        pop3 = wire.Pop3(self, "pop3s", tls=True, user=user)
        report.check(label, f"mail {number} is there over POP3S", int(pop3.one("STAT").split()[1]) > 0)
        report.messages(label, 1)
