"""One `pigeon serve` as a child: its own data directory, free loopback ports, accounts; ended by its own pid."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOMAIN = "example.org"
NAMES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
START_S_MAX = 20
STOP_S_MAX = 5  # DESIGN section 6: everything ended within 5 s of SIGTERM, whatever clients do


def binary():
    """The release binary under test; PIGEON names another."""
    return Path(os.environ.get("PIGEON") or ROOT / "target" / "release" / "pigeon")


def free_ports(count):
    """Ports nobody listens on now, below the range the kernel hands to outgoing connections."""
    found = []
    while len(found) < count:
        port = random.randint(20000, 32000)
        if port in found:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found


class Server:
    """A running (or stopped) server and what one needs to reach it."""

    def __init__(self, folder=None, *, hostname="localhost", limits=None, store=None, group=None):
        self.folder = Path(folder or tempfile.mkdtemp(prefix="pigeon-test-"))
        self.data = self.folder / "data"
        self.config = self.folder / "pigeon.toml"
        self.log = self.folder / "server.log"
        self.host = "localhost"
        self.hostname = hostname
        self.ports = dict(zip(NAMES, free_ports(len(NAMES))))
        self.passwords = {}
        self.child = None
        self.group = group  # a control group's folder the server is started in, for figures the kernel keeps per group
        self.first_greeting_s = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure(limits or {}, store or {})

    @property
    def ca(self):
        """The local CA's certificate."""
        return self.data / "tls" / "ca.pem"

    @property
    def pid(self):
        """The server's process id while it runs."""
        return self.child.pid

    def configure(self, limits, store):
        """Writes pigeon.toml; takes effect at the next start."""
        lines = [f'hostname = "{self.hostname}"', f'data = "{self.data}"', "[listen]"]
        lines += [f'{name} = "127.0.0.1:{port}"' for name, port in self.ports.items()]
        for section, values in (("limits", limits), ("store", store)):
            if values:
                lines.append(f"[{section}]")
                lines += [
                    f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"'
                    for key, value in values.items()
                ]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self, *words, stdin=None, check=True, timeout=30):
        """One `pigeon` command with this configuration."""
        done = subprocess.run(
            [binary(), "--config", self.config, *words], input=stdin, capture_output=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"pigeon {' '.join(map(str, words))} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
        return done

    def add_user(self, name, password=None):
        """Adds an account (its full address is returned); the password is drawn from its name unless given."""
        address = name if "@" in name else f"{name}@{DOMAIN}"
        password = password or f"secret-of-{address.split('@')[0]}-{len(address)}"
        self.run("user", "add", address, "--password-stdin", stdin=(password + "\n").encode())
        self.passwords[address] = password
        return address

    def start(self, wait=True):
        """Starts it and waits for SMTP's greeting; keeps the seconds that took in `first_greeting_s`."""
        started = time.perf_counter()
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                [binary(), "--config", self.config, "serve"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=self._enter if self.group else None,
            )
        if not wait:
            return self
        while True:
            if self.child.poll() is not None:
                raise RuntimeError(f"the server ended at start with {self.child.returncode}:\n{self.tail()}")
            try:
                with socket.create_connection(("127.0.0.1", self.ports["smtp"]), 5) as probe:
                    if probe.recv(1000).startswith(b"220 "):
                        self.first_greeting_s = time.perf_counter() - started
                        return self
            except OSError:
                pass
            if time.perf_counter() - started > START_S_MAX:
                raise RuntimeError(f"no greeting within {START_S_MAX} s:\n{self.tail()}")
            time.sleep(0.002)

    def _enter(self):
        for place in self.group:
            Path(place, "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def tail(self, characters=2000):
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def stop(self):
        """SIGTERM; returns the seconds until it had ended. One that does not end is killed, and that is an error."""
        started = time.perf_counter()
        self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(STOP_S_MAX + 5)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"still running {STOP_S_MAX + 5} s after SIGTERM") from None
        if code != 0:
            raise RuntimeError(f"ended with {code} after SIGTERM:\n{self.tail()}")
        return time.perf_counter() - started

    def kill(self):
        """kill -9."""
        self.child.kill()
        self.child.wait()

    def restart(self):
        """Stops and starts."""
        self.stop()
        return self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.child and self.child.poll() is None:
            try:
                self.stop()
            except RuntimeError as error:
                print(f"server: {error}", file=sys.stderr)
        if os.environ.get("KEEP"):
            print(f"kept {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
