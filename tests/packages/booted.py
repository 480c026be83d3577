"""The package in a root that a real systemd has booted (systemd-nspawn): the units with their sandbox, their watchdog, their
timers, and the sockets handed over. What this machine's kernel does not have (the memory controller of control groups, under
some) is not in force."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from packages.installed import changed
from packages.root import Root

LABEL = "package under systemd"
BOOT_S_MAX = 60


class Machine:
    """The booted root; ended at the end."""

    def __init__(self, root):
        self.root = root

    def __enter__(self):
        if Path("/sys/fs/cgroup/cgroup.controllers").exists() is False:
            subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=False, stderr=subprocess.DEVNULL)
            subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)
        self.log = open(self.root.folder / "console.log", "wb")
        words = ["systemd-nspawn", "--quiet", "--directory", self.root.path, "--register=no", "--keep-unit", "--boot"]
        words += ["--console=pipe", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--machine=box"]
        words += ["systemd.unit=multi-user.target"]
        self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + BOOT_S_MAX
        while not self.is_up():
            if time.monotonic() > end or self.child.poll() is not None:
                raise RuntimeError(f"it does not boot: {self.console()[-1500:]}")
            time.sleep(0.2)
        return self

    def leader(self):
        """The first process in it."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return children[0] if children else None

    def is_up(self):
        """Whether its systemd answers."""
        leader = self.leader()
        if leader is None:
            return False
        done = subprocess.run([*self.enter(), "systemctl", "is-system-running"], capture_output=True, text=True, check=False)
        return done.stdout.strip() in ("running", "degraded")

    def enter(self):
        """The words that run a program in it."""
        return ["nsenter", "--target", self.leader(), "--all", "--"]

    def run(self, *words, **more):
        """A program in it; what it says."""
        return self.root.run(*words, wrap=self.enter(), **more)

    def show(self, unit, name):
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def journal(self, unit):
        """What a unit said."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)

    def console(self):
        """What it said while booting."""
        return (self.root.folder / "console.log").read_text(errors="replace")

    def __exit__(self, kind, value, trace):
        if self.child.poll() is None:
            leader = self.leader()
            if leader:
                os.kill(int(leader), signal.SIGRTMIN + 4)  # systemd: power off
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.log.close()


def serves(report, package):
    """The test itself."""
    if shutil.which("systemd-nspawn") is None:
        report.leave_out(LABEL, "systemd-nspawn is not installed")
        return
    with Root() as root:
        shutil.copy(package, root.path / "var/pigeon.deb")
        with Machine(root) as machine:
            trial(report, root, machine, package)


def elsewhere(root, machine, check):
    """The mail in another folder and back again, as README says: the weekly look goes with it, and is not passed over."""
    grant = "[Service]\nReadWritePaths=/srv/mail\n"
    units = ("pigeon", "pigeon-verify")
    machine.run("systemctl", "stop", "pigeon")
    machine.run("mv", "/var/lib/pigeon", "/srv/mail")
    machine.run("sed", "-i", 's|^data = .*|data = "/srv/mail"|', "/etc/pigeon/pigeon.toml")
    for unit in units:
        folder = f"/run/systemd/system/{unit}.service.d"
        machine.run("sh", "-c", f"mkdir -p {folder} && cat > {folder}/elsewhere.conf", text=grant)
    machine.run("systemctl", "daemon-reload")
    before = machine.journal("pigeon-verify").count("nothing is damaged")
    machine.run("systemctl", "start", "pigeon-verify.service")
    look = machine.journal("pigeon-verify")
    check("elsewhere the weekly look is taken, too, without a server", look.count("nothing is damaged") == before + 1, look)
    machine.run("systemctl", "start", "pigeon")
    root.await_greeting()
    machine.run("systemctl", "start", "pigeon-verify.service")
    look = machine.journal("pigeon-verify")
    check("and with one", look.count("nothing is damaged") == before + 2, look)
    machine.run("systemctl", "stop", "pigeon")
    machine.run("mv", "/srv/mail", "/srv/away")
    machine.run("mkdir", "/srv/mail")
    machine.run("systemctl", "start", "pigeon-verify.service", good=(0, 1))
    check("mail that is not there is a failure", machine.show("pigeon-verify.service", "ActiveState") == "failed")
    # systemd has made the folder of the unit anew.
    machine.run("rm", "-rf", "/var/lib/pigeon", "/srv/mail")
    machine.run("mv", "/srv/away", "/var/lib/pigeon")
    machine.run("sed", "-i", 's|^data = .*|data = "/var/lib/pigeon"|', "/etc/pigeon/pigeon.toml")
    machine.run("rm", "-r", *(f"/run/systemd/system/{unit}.service.d" for unit in units))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")
    machine.run("systemctl", "start", "pigeon")


def hangs(machine, check):
    """One that says nothing any more is ended by the watchdog and started again; with shorter times than the unit's."""
    folder = "/run/systemd/system/pigeon.service.d"
    shorter = "[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\nRestartSec=1\n"
    machine.run("sh", "-c", f"mkdir -p {folder} && cat > {folder}/shorter.conf", text=shorter)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "pigeon")
    pid = machine.show("pigeon.service", "MainPID")
    time.sleep(5)
    check("it answers the watchdog", machine.show("pigeon.service", "MainPID") == pid, machine.journal("pigeon"))
    machine.run("sh", "-c", f"kill -STOP {pid}")
    end = time.monotonic() + 30
    while machine.show("pigeon.service", "MainPID") in (pid, "0") and time.monotonic() < end:
        time.sleep(0.2)
    check("hanging, it is ended and started again", machine.show("pigeon.service", "MainPID") not in (pid, "0"))
    check("and the journal says why", "Watchdog timeout" in machine.journal("pigeon"), machine.journal("pigeon"))
    machine.run("rm", "-r", folder)
    machine.run("systemctl", "daemon-reload")


def goes(report, root, machine, package, alice):
    """Upgraded, removed while clients knock at its sockets, installed again and purged, with the units that README has one enable."""
    check = lambda what, good, why="": report.check(LABEL, what, good, why)  # noqa: E731
    machine.run("systemctl", "enable", "--now", "pigeon-backup.timer")
    shutil.copy(changed(package, "0.1.0-2", "# of the second version\n"), root.path / "var/second.deb")
    pid = machine.show("pigeon.service", "MainPID")
    machine.run("dpkg", "--force-confdef", "--force-confold", "-i", "/var/second.deb")
    state, now = machine.show("pigeon.service", "ActiveState"), machine.show("pigeon.service", "MainPID")
    check("upgraded, the new one serves", state == "active" and now not in (pid, "0"), f"{state} {pid} {now}")
    root.carry(report, LABEL, alice, 6)
    over = threading.Event()
    knocks = []
    thread = threading.Thread(target=knock, args=(root, over, knocks))
    thread.start()
    try:
        machine.run("dpkg", "-r", "pigeon")
    finally:
        over.set()
        thread.join()
    check("clients knocked meanwhile", len(knocks) > 10, len(knocks))
    pid = machine.show("pigeon.service", "MainPID")
    print(f"   clients knocked {len(knocks)} times while it was removed", flush=True)
    check("removed, nothing of it runs on", pid in ("", "0"), pid)
    check("and nothing listens", not listens(root), root.ports)
    shutil.copy(package, root.path / "var/pigeon.deb")
    machine.run("dpkg", "--force-confdef", "--force-confold", "-i", "/var/pigeon.deb")
    root.await_greeting()
    root.carry(report, LABEL, alice, 7)


def knock(root, over, knocks):
    """Connects again and again; counts in `knocks` what was accepted."""
    while not over.is_set():
        try:
            socket.create_connection(("127.0.0.1", root.ports["smtp"]), 1).close()
            knocks.append(1)
        except OSError:
            time.sleep(0.01)


def listens(root):
    """Whether somebody takes a connection there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", root.ports["smtp"])) == 0


def trial(report, root, machine, package):
    """What is tried while it runs."""
    check = lambda what, good, why="": report.check(LABEL, what, good, why)  # noqa: E731
    machine.run("dpkg", "-i", "/var/pigeon.deb")
    state = machine.show("pigeon.service", "ActiveState")
    if not check("installing starts it", state == "active", f"{state}\n{machine.journal('pigeon')}"):
        return
    root.await_greeting()
    wrap = machine.enter()
    alice = root.add_user("alice", wrap)
    root.carry(report, LABEL, alice, 1)
    status = machine.show("pigeon.service", "StatusText")
    check("its status is a line", status.startswith("box.example.org serves smtp"), status)
    pid = machine.show("pigeon.service", "MainPID")
    check("a system call filter is in force", "Seccomp:\t2" in machine.run("cat", f"/proc/{pid}/status"))
    check("it may bind low ports and nothing else", "CapEff:\t0000000000000400" in machine.run("cat", f"/proc/{pid}/status"))

    machine.run("systemctl", "reload", "pigeon")
    end = time.monotonic() + 20
    while "configuration loaded" not in machine.journal("pigeon") and time.monotonic() < end:
        time.sleep(0.2)
    check("reload is a reload", "configuration loaded" in machine.journal("pigeon"), machine.journal("pigeon"))
    check("the same process serves on", machine.show("pigeon.service", "MainPID") == pid)
    told = machine.run("pigeon", "check", good=(0, 1))
    check("check finds nothing wrong", "error" not in told, told)

    machine.run("systemctl", "start", "pigeon-verify.service")
    check("the weekly look finds nothing", "nothing is damaged" in machine.journal("pigeon-verify"))
    machine.run("mkdir", "-p", "/var/backups/pigeon")
    machine.run("systemctl", "start", "pigeon-backup.service", good=(0, 1))
    told = machine.journal("pigeon-backup")
    made = any((root.path / "var/backups/pigeon").iterdir())
    check("no stick is mounted: no backup is made, and that is told", "on the disk" in told and not made, told)
    machine.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", "/var/backups/pigeon")
    machine.run("systemctl", "start", "pigeon-backup.service")
    made = machine.run("ls", "/var/backups/pigeon")
    check("the daily backup is made", "MANIFEST-" in made, made)
    check("nothing in the data is root's", not root.strangers(), root.strangers())

    elsewhere(root, machine, check)
    root.await_greeting()
    pid = machine.show("pigeon.service", "MainPID")

    machine.run("sh", "-c", f"kill -9 {pid}")
    # Not the one that is just ending: its socket may still take a connection, and reset it.
    end = time.monotonic() + 30
    while machine.show("pigeon.service", "MainPID") in (pid, "0") and time.monotonic() < end:
        time.sleep(0.2)
    check("killed, it is started again", machine.show("pigeon.service", "MainPID") not in (pid, "0"))
    root.await_greeting()
    root.carry(report, LABEL, alice, 2)

    hangs(machine, check)
    root.await_greeting()
    root.carry(report, LABEL, alice, 5)

    # As sockets.conf says.
    machine.run("systemctl", "stop", "pigeon")
    machine.run("mkdir", "-p", "/etc/systemd/system/pigeon.service.d")
    machine.run("cp", "/usr/share/doc/pigeon/examples/sockets.conf", "/etc/systemd/system/pigeon.service.d/")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", *(f"pigeon-{name}.socket" for name in root.ports))
    machine.run("systemctl", "start", "pigeon")
    pid = machine.show("pigeon.service", "MainPID")
    facts = machine.run("cat", f"/proc/{pid}/status")
    check("with sockets handed over it has no capability", "CapEff:\t0000000000000000" in facts, facts)
    served = json.loads(machine.run("pigeon", "status", "--json"))["server"]["services"]
    check("all seven are handed over", len(served) == 7 and all(one["passed"] for one in served), served)
    root.carry(report, LABEL, alice, 3)
    told = machine.run("pigeon", "check", good=(0, 1))
    check("check knows its sockets", "error" not in told and "another program" not in told, told)
    machine.run("systemctl", "stop", "pigeon")
    told = machine.run("pigeon", "check", good=(0, 1))
    check("and without the server, too", "another program" not in told, told)
    root.carry(report, LABEL, alice, 4)
    check("a connection starts it", machine.show("pigeon.service", "ActiveState") == "active")
    goes(report, root, machine, package, alice)

    machine.run("systemctl", "stop", *(f"pigeon-{name}.socket" for name in root.ports), "pigeon")
    segment = max((root.data / "log").glob("*.commit"), key=lambda path: path.stat().st_size)
    octets = bytearray(segment.read_bytes())
    for place in range(4096, len(octets.rstrip(b"\0")), 512):
        octets[place] ^= 0xFF
    segment.write_bytes(octets)
    machine.run("systemctl", "start", "pigeon-verify.service", good=(0, 1))
    check("damage makes the weekly look fail", machine.show("pigeon-verify.service", "ActiveState") == "failed")
    check("and is named", "damaged: " in machine.journal("pigeon-verify"), machine.journal("pigeon-verify"))
    alarm = "pigeon-alarm@pigeon-verify.service.service"
    check("and told", machine.show(alarm, "ExecMainStartTimestampMonotonic") not in ("", "0"), machine.journal(alarm))
    check("without a fault of the alarm's", machine.show(alarm, "Result") == "success", machine.journal(alarm))

    machine.run("dpkg", "-P", "pigeon")
    units = root.path / "etc/systemd/system"
    left = [str(path) for path in units.rglob("*pigeon*") if path.is_symlink()]
    check("purged, no link to its units is left", not left, left)
    check("and what the administrator wrote is", (units / "pigeon.service.d/sockets.conf").exists())
    check("and nothing of it runs", machine.show("pigeon.service", "MainPID") in ("", "0"))
