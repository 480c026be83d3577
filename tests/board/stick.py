"""The backup stick: backed up when plugged in, and a new card filled from it; sticks of every kind, and a full one."""

import base64
import copy
import os
import shutil
import time
from pathlib import Path

from harness import wire

from board.card import call
from board.machine import Machine

MEBIBYTES = 128
BACKED_UP = r"backed up to the stick in (\d+) s|the backup to the stick failed.*|no backup is made.*"


# What formats a file as a stick; the label follows.
FORMATS = {"FAT": ["mkfs.vfat", "-n"], "exFAT": ["mkfs.exfat", "-L"], "ext4": ["mkfs.ext4", "-q", "-F", "-L"]}


class Stick:
    """A USB stick: one file system without a partition table, FAT if no other is named; or in the first partition of one."""

    def __init__(self, path, files=None, label="MAIL-BACKUP", kind="FAT", is_partitioned=False):
        self.path = Path(path)
        self.path.unlink(missing_ok=True)
        with open(self.path, "wb") as file:
            os.truncate(file.fileno(), MEBIBYTES << 20)
        call(*FORMATS[kind], label, self.path)
        if is_partitioned:
            content = self.path.with_suffix(".partition")
            self.path.rename(content)
            with open(self.path, "wb") as file:
                os.truncate(file.fileno(), (MEBIBYTES + 2) << 20)
            call("sfdisk", "-q", self.path, stdin=f"label: dos\nstart=1MiB, size={MEBIBYTES}MiB, type=7\n".encode())
            call("dd", f"if={content}", f"of={self.path}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none")
            content.unlink()
        for name, octets in (files or {}).items():
            call("mcopy", "-o", "-i", self.path, "-", f"::{name}", stdin=octets)

    def words(self):
        """For qemu, plugged in from the start."""
        return ["-blockdev", f"driver=raw,node-name=stick,file.driver=file,file.filename={self.path}", "-device", "usb-storage,drive=stick,id=plugged"]

    def names(self, folder):
        """What lies in a folder of it."""
        return call("mdir", "-b", "-/", "-i", self.path, f"::{folder}", check=False).stdout.decode()


def backed_up_and_restored(report, world):
    """Plugged in while the machine runs; then a new card and the same stick."""
    label = "backup stick"
    card = world.ready_card("stick.img")
    stick = Stick(world.folder / "the-stick.img")
    with Machine(card, world.folder / "stick", start=world.direct) as machine:
        machine.greeting(world.patience)
        place, _, _ = machine.wait(r"memory: ", world.patience)
        machine.ask("blockdev-add", driver="raw", **{"node-name": "stick", "file": {"driver": "file", "filename": str(stick.path)}})
        machine.ask("device_add", driver="usb-storage", drive="stick", id="plugged", bus="usb.0")
        place, _, match = machine.wait(BACKED_UP, world.patience, place)
        report.check(label, "is backed up when plugged in", match[1] is not None, match[0])
        machine.power_button(world.patience)
    report.check(label, "holds a complete backup", "MANIFEST" in stick.names("pigeon"), stick.names("pigeon"))

    label = "restore"
    fresh = world.fresh_card("restored.img", world.first_boot_file.replace("[board]\n", "[board]\nrestore = true\n"))
    with Machine(fresh, world.folder / "restored", start=world.direct, extra=stick.words(), passwords={world.recipient: world.password}) as machine:
        machine.greeting(world.patience)
        machine.authority(world.patience)
        client = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        report.check(label, "a new card has the mail of the old one", client.select() == world.delivered)
        client.logout()
        _, _, match = machine.wait(BACKED_UP, world.patience)
        report.check(label, "is backed up again", match[1] is not None, match[0])
        machine.power_button(world.patience)
    folders = stick.names("pigeon")
    report.check(label, "goes on in the same folder", "pigeon-2" not in folders, folders)

    label = "restore of a damaged backup"
    broken = _with_a_damaged_body(stick, world.folder / "broken-stick.img")
    fresh = world.fresh_card("broken-restored.img", world.first_boot_file.replace("[board]\n", "[board]\nrestore = true\n"))
    with Machine(fresh, world.folder / "broken-restored", start=world.direct, extra=broken.words(), passwords={world.recipient: world.password}) as machine:
        machine.greeting(world.patience)
        report.check(label, "it is said to take a while", machine.said(r"restoring \d+ MB from pigeon/pigeon of the stick: do not switch"), machine.tail())
        machine.authority(world.patience)
        client = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        client.select()
        client.logout()
        report.check(label, "what did not come back is told", *machine.reports(r"pigeon/pigeon of the stick is damaged, .*\.body", world.patience / 10))
        _, _, match = machine.wait(BACKED_UP, world.patience)
        report.check(label, "is backed up", match[1] is not None, match[0])
        machine.power_button(world.patience)
    report.check(label, "into a folder of its own", "MANIFEST" in broken.names("pigeon/pigeon-2"), broken.names("pigeon"))

    label = "a new card without a restore"
    before = stick.names("pigeon/pigeon")
    fresh = world.fresh_card("other.img", world.first_boot_file)
    with Machine(fresh, world.folder / "other", start=world.direct, extra=stick.words()) as machine:
        _, _, match = machine.wait(BACKED_UP, world.patience)
        report.check(label, "is backed up", match[1] is not None, match[0])
        machine.power_button(world.patience)
    report.check(label, "leaves the old card's mail on the stick", "MANIFEST" in before and stick.names("pigeon/pigeon") == before, before)
    report.check(label, "has a folder of its own", "MANIFEST" in stick.names("pigeon/pigeon-2"), stick.names("pigeon"))
    report.check(label, "says so", b"pigeon/pigeon-2" in (fresh.read("pigeon-report.txt") or b""), "")


def _with_a_damaged_body(stick, path):
    """A copy of the stick, on which two octets in the middle of the largest body are others."""
    broken = copy.copy(stick)
    broken.path = path
    shutil.copyfile(stick.path, path)
    bodies = [line for line in broken.names("pigeon").split() if line.endswith(".body")]
    octets = {name: call("mcopy", "-i", path, name, "-").stdout for name in bodies}
    name = max(octets, key=lambda name: len(octets[name]))
    middle = len(octets[name]) // 2
    spoilt = octets[name][:middle] + bytes(octet ^ 1 for octet in octets[name][middle : middle + 2]) + octets[name][middle + 2 :]
    call("mcopy", "-o", "-i", path, "-", name, stdin=spoilt)
    return broken


def pulled_out(report, world):
    """A slow stick with a backup is pulled out in the middle of the next one: that is told, mail is served on, and a new card
    gets the mail of the backup before."""
    label = "a stick pulled out half-way"
    stick = Stick(world.folder / "pulled-stick.img")
    # So slow that the second backup takes a minute.
    limits = {"bps-write": 100_000}
    with Machine(world.ready_card("pulled.img"), world.folder / "pulled", start=world.direct, extra=stick.words()) as machine:
        place, _, match = machine.wait(BACKED_UP, world.patience)
        report.check(label, "is backed up first", match[1] is not None, match[0])
        machine.ask("device_del", id="plugged")
        before = stick.names("pigeon")
        machine.greeting(world.patience)
        client = wire.Smtp(machine, timeout=world.patience)
        for number in range(40):
            client.deliver([world.recipient], b"Subject: %d\r\n\r\n" % number + base64.encodebytes(os.urandom(120_000)).replace(b"\n", b"\r\n"))
        client.quit()
        machine.ask("object-add", **{"qom-type": "throttle-group", "id": "slowness", "limits": limits})
        machine.ask("blockdev-add", driver="throttle", file="stick", **{"node-name": "slow", "throttle-group": "slowness"})
        machine.ask("device_add", driver="usb-storage", drive="slow", id="again", bus="usb.0")

        def written():
            """Octets that the stick has taken since it was plugged in again."""
            nodes = machine.ask("query-blockstats")
            return sum(node["stats"]["wr_bytes"] for node in nodes if node.get("qdev", "").find("again") >= 0)

        deadline = time.monotonic() + world.patience
        while written() < 600_000 and time.monotonic() < deadline:
            time.sleep(0.2)
        taken = written()
        machine.ask("device_del", id="again")
        report.check(label, "was being written", 600_000 <= taken < 4_000_000, str(taken))
        _, _, match = machine.wait(BACKED_UP, world.patience, place)
        report.check(label, "that is told", match[1] is None, match[0])
        client = wire.Smtp(machine, timeout=world.patience)
        client.deliver([world.recipient], b"Subject: afterwards\r\n\r\n")
        client.quit()
        machine.power_button(world.patience)
    manifests = [line for line in stick.names("pigeon").splitlines() if "MANIFEST" in line]
    report.check(label, "the backup before is there", manifests == [line for line in before.splitlines() if "MANIFEST" in line], str(manifests))
    fresh = world.fresh_card("pulled-new.img", world.first_boot_file.replace("[board]\n", "[board]\nrestore = true\n"))
    with Machine(fresh, world.folder / "pulled-new", start=world.direct, extra=stick.words(), passwords={world.recipient: world.password}) as machine:
        machine.authority(world.patience)
        client = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        count = client.select()
        report.check(label, "a new card has the mail of the backup before", count == world.delivered, f"{count}, not {world.delivered}\n{machine.tail(80)}")
        client.logout()
        machine.power_button(world.patience)


def of_every_kind(report, world):
    """Sticks with exFAT (in a partition, as most are sold) and ext4 hold a backup, and give it to a new card; a full one is told."""
    restore = world.first_boot_file.replace("[board]\n", "[board]\nrestore = true\n")
    for kind, is_partitioned in (("exFAT", True), ("ext4", False)):
        label = f"a stick with {kind}"
        stick = Stick(world.folder / f"{kind}.img", kind=kind, is_partitioned=is_partitioned)
        with Machine(world.ready_card(f"{kind}-card.img"), world.folder / kind, start=world.direct, extra=stick.words()) as machine:
            _, _, match = machine.wait(BACKED_UP, world.patience)
            report.check(label, "is backed up", match[1] is not None, match[0])
            machine.power_button(world.patience)
        fresh = world.fresh_card(f"{kind}-new.img", restore)
        with Machine(fresh, world.folder / f"{kind}-new", start=world.direct, extra=stick.words(), passwords={world.recipient: world.password}) as machine:
            machine.authority(world.patience)
            client = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
            report.check(label, "a new card has the mail of the old one", client.select() == world.delivered)
            client.logout()
            machine.power_button(world.patience)
    label = "a full stick"
    full = Stick(world.folder / "full-stick.img", {"photos": bytes((MEBIBYTES - 2) << 20)})
    number = 0
    while call("mcopy", "-i", full.path, "-", f"::photo{number}", stdin=bytes(1 << 16), check=False).returncode == 0:
        number += 1
    card = world.ready_card("full-stick-card.img")
    with Machine(card, world.folder / "full-stick", start=world.direct, extra=full.words()) as machine:
        _, _, match = machine.wait(BACKED_UP, world.patience)
        report.check(label, "no backup is said to be made", match[1] is None, match[0])
        is_told, told = machine.reports("the backup to the stick failed: .*(full|space|room)", world.patience / 10)
        report.check(label, "the report says why", is_told, told)
        report.check(label, "and calls all else well", "All is well, but for what stands at the end." in told, told)
        machine.power_button(world.patience)

