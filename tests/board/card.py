"""A copy of the image as a card: its FAT read and written with mtools, its systems and its data partition taken out. Nothing is
mounted; the card is a plain file."""

import os
import re
import shutil
import subprocess
from pathlib import Path

SECTOR = 512
BOOT_AT = 4 << 20
ENVIRONMENT = os.environ | {"MTOOLS_SKIP_CHECK": "1", "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


def call(*words, check=True, stdin=None, **more):
    """One program, its output returned; an error carries what it said."""
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, env=ENVIRONMENT, check=False, **more)
    if check and done.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {(done.stderr or done.stdout).decode(errors='replace')[-800:]}")
    return done


class Card:
    """One card."""

    def __init__(self, path, image=None, mebibytes=None):
        self.path = Path(path)
        if image:
            self.path.unlink(missing_ok=True)
            call("cp", "--sparse=always", image, self.path)
        if mebibytes:
            os.truncate(self.path, mebibytes << 20)

    def copy(self, path):
        """Another card with the same octets."""
        return Card(path, self.path)

    @property
    def fat(self):
        """As mtools names it."""
        return f"{self.path}@@{BOOT_AT}"

    def write(self, name, octets):
        """A file on the FAT, as somebody with a card reader writes it."""
        call("mcopy", "-o", "-i", self.fat, "-", f"::{name}", stdin=octets)

    def read(self, name):
        """A file on the FAT; None when there is none."""
        done = call("mcopy", "-i", self.fat, f"::{name}", "-", check=False)
        return done.stdout if done.returncode == 0 else None

    def slots(self):
        """What U-Boot's state says."""
        text = self.read("slots.env").decode().replace("\0", "\n")
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def data_at(self):
        """Where the data partition begins, and its octets."""
        table = call("sfdisk", "-d", self.path).stdout.decode()
        start, size = re.findall(r"start=\s*(\d+), size=\s*(\d+)", table)[1]
        return int(start) * SECTOR, int(size) * SECTOR

    def data(self, path):
        """The data partition as a file of its own, holes kept."""
        at, size = self.data_at()
        call("dd", f"if={self.path}", f"of={path}", "bs=1M", f"skip={at >> 20}", f"count={(size + (1 << 20) - 1) >> 20}", "conv=sparse", "status=none")
        os.truncate(path, size)
        return path

    def holds(self, octets):
        """Whether the raw card has these octets anywhere."""
        return call("grep", "-qaF", "--", octets.decode(), self.path, check=False).returncode == 0


def header(octets):
    """The first sector of a system file: its parts' places, sizes and sums."""
    lines = octets[:SECTOR].rstrip(b"\0").decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


def kernel_and_initrd(system, folder):
    """A system's kernel, unpacked, and its initrd as files for a direct start."""
    octets = Path(system).read_bytes()
    facts = header(octets)
    parts = {}
    for name in ("kernel", "initrd"):
        at, size = int(facts[f"{name}_at"], 16), int(facts[f"{name}_size"], 16)
        parts[name] = octets[at : at + size]
    kernel, initrd = Path(folder, "Image"), Path(folder, "initrd")
    kernel.write_bytes(call("xz", "-dc", "--format=lzma", stdin=parts["kernel"]).stdout)
    initrd.write_bytes(parts["initrd"])
    return kernel, initrd


def read_data(card, folder, name="pigeon", repair=False):
    """The server's folder out of the card's data partition as a mount would show it: journal replayed, then copied out. `repair`: what
    that cannot mend is mended at any price, as a board does."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    partition = card.data(folder / "data.ext4")
    # -p replays the journal and mends what a cut leaves; 1 and 2 mean mended.
    checked = call("e2fsck", "-fp", partition, check=False)
    if repair and checked.returncode not in (0, 1, 2):
        checked = call("e2fsck", "-fy", partition, check=False)
    if checked.returncode not in (0, 1, 2):
        raise RuntimeError(f"the file system is damaged: {checked.stdout.decode(errors='replace')[-500:]}")
    call("debugfs", "-R", f"rdump /{name} {folder}", partition)
    partition.unlink()
    return folder / name
