"""An emulated board: qemu with a card, its console read line by line, its services forwarded to loopback. It looks like
`harness.server.Server` to the drivers in `harness.wire`. Ended by its own pid."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from harness.server import free_ports

SLOWER = 10  # times are printed beside the demand and fail when so many times over: emulation on a busy machine
PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995, "ssh": 22}
UBOOT = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")


def _kernel_words():
    """What boot.cmd gives the kernel on every board, for a start without U-Boot."""
    script = (Path(__file__).resolve().parent.parent.parent / "board" / "boot.cmd").read_text()
    frugal = re.search(r"^setenv frugal (.*)$", script, re.MULTILINE)[1]
    return re.search(r"\$\{console\} (.* \$\{frugal\})", script)[1].replace("${frugal}", frugal)


class Ended(Exception):
    """What was waited for did not come; the text has the end of the console."""


class Machine:
    """One run of one card."""

    is_near = False  # it sees other addresses than loopback ones
    timeout_s = 600  # how long its clients wait for an answer

    def __init__(self, card, folder, *, start, options="", kind="virt", drive=None, extra=(), passwords=None, outside=False, home=None):
        """`start` is ("direct", kernel, initrd) or ("u-boot",); `drive` replaces the card's -blockdev lines (node `card`); in the
        namespace of a `home` (board/home.py) its network is that of tap0 there, and nothing is forwarded."""
        self.card, self.folder, self.kind = card, Path(folder), kind
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.host, self.passwords = "localhost", passwords or {}
        self.ca = self.folder / "ca.pem"
        self.console = []
        self.log = self.folder / "console.log"
        self.monitor_path = self.folder / "monitor"
        self.monitor_path.unlink(missing_ok=True)
        self.changed = threading.Condition()
        self.words = self._words(start, options, drive, list(extra), outside, home)
        self.started = time.monotonic()
        self.child = subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _words(self, start, options, drive, extra, outside, home):
        words = [*(home.inside() if home else []), "qemu-system-aarch64", "-display", "none", "-no-user-config", "-nodefaults"]
        words += ["-qmp", f"unix:{self.monitor_path},server=on,wait=off"]
        forward = ",".join(f"hostfwd=tcp:127.0.0.1:{self.ports[name]}-:{PORTS[name]}" for name in PORTS)
        # Nothing leaves this machine; only a test with a server of its own on loopback (10.0.2.2) asks for `outside`.
        network = f"user,id=n,restrict={'off' if outside else 'on'},{forward}"
        if home:
            network = "tap,id=n,ifname=tap0,script=no,downscript=no"
        if self.kind == "virt":
            # Beside a firmware (U-Boot) the power button would be ACPI's, which no device tree tells of.
            words += ["-M", "virt,acpi=off", "-cpu", "cortex-a53", "-smp", "2", "-m", "512", "-serial", "stdio"]
            words += drive or ["-blockdev", f"driver=file,node-name=file,filename={self.card.path}", "-blockdev", "driver=raw,node-name=card,file=file"]
            words += ["-device", "virtio-blk-device,drive=card"]
            words += ["-netdev", network, "-device", "virtio-net-device,netdev=n", "-device", "i6300esb", "-device", "qemu-xhci,id=usb"]
            console = "console=ttyAMA0"
        else:
            # The Pi's own devices: SD controller, USB host with a network adapter, two serial lines of which ours is the second.
            words += ["-M", "raspi3b", "-serial", "null", "-serial", "stdio"]
            words += drive or ["-drive", f"if=sd,format=raw,file={self.card.path}"]
            words += ["-netdev", network, "-device", "usb-net,netdev=n"]
            console = "console=ttyS1,115200"
        if start[0] == "u-boot":
            words += ["-bios", str(UBOOT)]
        else:
            words += ["-kernel", str(start[1]), "-initrd", str(start[2])]
            words += ["-append", f"{console} {_kernel_words()} {options}".strip()]
        return words + extra

    def _read(self):
        with open(self.log, "ab", buffering=0) as log:
            for line in self.child.stdout:
                log.write(line)
                with self.changed:
                    self.console.append((time.monotonic() - self.started, line.decode(errors="replace").strip()))
                    self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def wait(self, pattern, seconds, since=0):
        """Waits for a line on the console; answers (its number + 1, seconds since the start, match)."""
        deadline, place = time.monotonic() + seconds, since
        while True:
            with self.changed:
                while place < len(self.console):
                    at, line = self.console[place]
                    place += 1
                    match = re.search(pattern, line)
                    if match:
                        return place, at, match
                if self.child.poll() is not None and not self.reader.is_alive():
                    raise Ended(f"the machine ended before {pattern!r}:\n{self.tail()}")
                if time.monotonic() > deadline:
                    raise Ended(f"no {pattern!r} within {seconds} s:\n{self.tail()}")
                self.changed.wait(0.5)

    def said(self, pattern):
        """Whether the console has said it."""
        return any(re.search(pattern, line) for _, line in self.console)

    def tail(self, lines=25):
        """The console's last lines."""
        return "\n".join(line for _, line in self.console[-lines:])

    def greeting(self, seconds):
        """Waits for SMTP's 220; answers the seconds since the start. qemu itself accepts early, and asks a machine that has no
        address yet again ever more seldom: so each attempt is a short one, longer where everything takes long."""
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            if self.child.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.ports["smtp"]), 5) as probe:
                    probe.settimeout(max(0.5, (time.monotonic() - begun) / 10))
                    if probe.recv(1000).startswith(b"220 "):
                        return time.monotonic() - self.started
            except OSError:
                pass
            time.sleep(0.1)
        raise Ended(f"no greeting within {seconds} s:\n{self.tail()}")

    def processor_s(self):
        """Seconds of processor time that qemu has used so far: unlike the clock's, the same on a busy machine."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)

    def authority(self, seconds):
        """The CA's certificate, as it appears on the card's FAT for people."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            octets = self.card.read("pigeon-ca.crt")
            if octets and b"END CERTIFICATE" in octets:
                self.ca.write_bytes(octets)
                return
            time.sleep(1)
        raise Ended(f"no pigeon-ca.crt on the card within {seconds} s:\n{self.tail()}")

    def reports(self, pattern, seconds):
        """Waits for a line of the report on the card's FAT; answers whether it came, and the whole report."""
        deadline = time.monotonic() + seconds
        while True:
            told = (self.card.read("pigeon-report.txt") or b"").decode(errors="replace")
            if re.search(pattern, told) or time.monotonic() > deadline:
                return bool(re.search(pattern, told)), told
            time.sleep(1)

    def ask(self, command, **arguments):
        """One command to qemu's monitor."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(60)
            deadline = time.monotonic() + 60
            while line.connect_ex(str(self.monitor_path)) != 0:  # qemu makes it a moment after it was started
                if self.child.poll() is not None or time.monotonic() > deadline:
                    raise Ended(f"qemu has no monitor:\n{self.tail()}")
                time.sleep(0.05)
            file = line.makefile("rw", encoding="utf-8")
            file.readline()
            for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                file.write(json.dumps(words) + "\n")
                file.flush()
                while "return" not in (answer := json.loads(file.readline())):
                    if "error" in answer:
                        raise RuntimeError(f"{command}: {answer['error']['desc']}")
            return answer["return"]

    def power_button(self, seconds):
        """Presses it and waits until the machine is off; answers the seconds that took."""
        begun = time.monotonic()
        self.ask("system_powerdown")
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Ended(f"still on {seconds} s after the power button:\n{self.tail()}") from None
        return time.monotonic() - begun

    def kill(self):
        """The plug is pulled."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.reader.join(10)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and kind is not Ended:  # whose text has it
            print(f"The console's end:\n{self.tail()}")
        self.kill()


def missing():
    """What this machine lacks for all this; empty when nothing."""
    paths = os.environ["PATH"] + ":/usr/sbin:/sbin"
    needed = {"qemu-system-aarch64": "qemu-system-arm", "mcopy": "mtools", "sfdisk": "fdisk", "debugfs": "e2fsprogs", "xz": "xz-utils"}
    absent = [package for program, package in needed.items() if shutil.which(program, path=paths) is None]
    return absent + ([] if UBOOT.exists() else ["u-boot-qemu"])
