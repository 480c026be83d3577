"""The backup stick: backed up when plugged in, and a new card filled from it."""

import os
from pathlib import Path

from harness import wire

from board.card import call
from board.machine import Machine

MEBIBYTES = 128
BACKED_UP = r"backed up to the stick in (\d+) s|the backup to the stick failed.*|no backup is made.*"


class Stick:
    """A USB stick as shops sell them: one FAT file system without a partition table."""

    def __init__(self, path, files=None, label="MAIL-BACKUP"):
        self.path = Path(path)
        self.path.unlink(missing_ok=True)
        with open(self.path, "wb") as file:
            os.truncate(file.fileno(), MEBIBYTES << 20)
        call("mkfs.vfat", "-n", label, self.path)
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
