"""Other systems for a slot, made from the image's own: files put over its root by a second archive behind the first, which the
kernel unpacks after it. What is on the card stays the program under test; nothing is built again."""

import zlib
from pathlib import Path

from board.card import SECTOR, header

SLOT_OCTETS = 32 << 20
SCRIPT, PLAIN = 0o100755, 0o100644


def archive(files):
    """A newc archive (the kernel's Documentation/driver-api/early-userspace/buffer-format) of {path: (mode, octets)}."""
    out = b""
    for number, (name, (mode, octets)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))]):
        fields = (number, mode, 0, 0, 1, 0, len(octets), 0, 0, 0, 0, len(name) + 1, 0)
        entry = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        out += _padded(entry, 4) + _padded(octets, 4)
    return out


def _padded(octets, multiple):
    return octets + b"\0" * (-len(octets) % multiple)


def parts(octets):
    """The parts of a system file by name."""
    facts = header(octets)
    return {name: octets[int(facts[f"{name}_at"], 16) :][: int(facts[f"{name}_size"], 16)] for name in ("kernel", "initrd", "extra")}


def pack(facts, found):
    """A system file of these parts (board/build: build_system)."""
    lines = [f"{key}={facts[key]}" for key in ("pigeon", "version", "board")]
    body = b""
    for name, part in found.items():
        lines += [f"{name}_at={4096 + len(body):x}", f"{name}_size={len(part):x}", f"{name}_sum={summed(part)}"]
        body += _padded(part, 4096)
    head = "".join(line + "\n" for line in lines).encode()
    return head.ljust(4096, b"\0") + body


def summed(octets):
    """CRC-32 as U-Boot compares it: its octets the other way round."""
    return zlib.crc32(octets).to_bytes(4, "little").hex()


def started_with(direct, folder, files):
    """A direct start (`World.direct`) of the same system with these files over its root."""
    _, kernel, initrd = direct
    other = Path(folder) / "initrd-with-files"
    other.write_bytes(_padded(Path(initrd).read_bytes(), 4) + archive(files))
    return "direct", kernel, other


def changed(octets, files, version=None):
    """The same system with these files over its root."""
    facts, found = header(octets), parts(octets)
    if version:
        facts["version"] = version
        files = files | {"etc/pigeon-version": (PLAIN, version.encode() + b"\n")}
    found["initrd"] = _padded(found["initrd"], 4) + archive(files)
    return pack(facts, found)


def is_whole(octets):
    """Whether boot.cmd would start it."""
    if not octets[:SECTOR].strip(b"\0"):
        return False
    facts, found = header(octets), parts(octets)
    return all(facts.get(f"{name}_sum") == summed(found[name]) for name in ("kernel", "initrd"))


def put(card, slot, octets):
    """Into a slot of a card, at its full size."""
    card.write(f"slot-{slot}/system", octets.ljust(SLOT_OCTETS, b"\0"))


def state(card, good, tried="", tries=0):
    """Says to U-Boot which slot is good and which is on trial."""
    card.write("slots.env", f"good={good}\ntry={tried}\ntries={tries}\n".encode().ljust(SECTOR, b"\0"))


def chosen(card):
    """Which slot U-Boot would start: boot.cmd's rules once more; None when there is none."""
    told = card.slots()
    good = told.get("good", "a")
    order = [good, "b" if good == "a" else "a"]
    if told.get("try") and int(told.get("tries", "0"), 16) > 0:
        order = [told["try"], good]
    return next((slot for slot in order if is_whole(card.read(f"slot-{slot}/system") or b"")), None)


def read(path):
    """A system file's octets without a slot's padding."""
    return Path(path).read_bytes()
