"""The card's write log (qemu's blklogwrites, dm-log-writes format), and cards as a power cut at any point could leave them:
everything up to the last flush is there; each later write is kept, lost, or torn at a sector."""

import struct

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD = 1, 2, 4
LOST, TORN = 0.4, 0.2  # of the writes after the last flush
LIAR_WINDOW = 400  # a card that ignores flushes has so many writes still in its own memory


def drive(card, log):
    """qemu's words for a card whose writes are logged."""
    log.write_bytes(b"")
    return [
        "-blockdev", f"driver=file,node-name=file,filename={card.path}",
        "-blockdev", "driver=raw,node-name=raw,file=file",
        "-blockdev", f"driver=file,node-name=log,filename={log}",
        "-blockdev", "driver=blklogwrites,node-name=card,file=raw,log=log,log-super-update-interval=1",
    ]  # fmt: skip


class Log:
    """Entries in order: (end of the entry in the log, sector on the card, sectors, flags, where its octets lie)."""

    def __init__(self, path):
        self.octets = path.read_bytes()
        magic, _, _, size = struct.unpack_from("<QQQI", self.octets)
        if magic != MAGIC or size != SECTOR:
            raise RuntimeError("this is no write log")
        self.entries, place = [], SECTOR
        while place + SECTOR <= len(self.octets):
            sector, count, flags, _ = struct.unpack_from("<QQQQ", self.octets, place)
            length = 0 if flags & DISCARD else count * SECTOR
            if flags > 15 or count > 1 << 20 or place + SECTOR + length > len(self.octets):
                break
            self.entries.append((place + SECTOR + length, sector, count, flags, place + SECTOR))
            place += SECTOR + length
        self.flushes = [number for number, entry in enumerate(self.entries) if entry[3] & FLUSH]

    def first_after(self, place):
        """The first entry that ends beyond this place of the log."""
        return next((number for number, entry in enumerate(self.entries) if entry[0] > place), len(self.entries) - 1)

    def cut(self, card, at, random, liar=False):
        """Writes onto `card` (as it was before the log began) what a cut after entry `at` leaves; says what that was."""
        if liar:
            safe = at - LIAR_WINDOW
        else:
            safe = max((number for number in self.flushes if number <= at), default=-1)
        kept = lost = torn = 0
        with open(card.path, "r+b") as file:
            for number, (_, sector, count, flags, where) in enumerate(self.entries[: at + 1]):
                if flags & DISCARD or count == 0:
                    continue
                take = count
                if number > safe and not flags & FUA:
                    chance = random.random()
                    if chance < LOST:
                        lost += 1
                        continue
                    if chance < LOST + TORN and count > 1:
                        take = random.randrange(1, count)
                        torn += 1
                    else:
                        kept += 1
                file.seek(sector * SECTOR)
                file.write(self.octets[where : where + take * SECTOR])
        return f"entry {at} of {len(self.entries)}, after the last flush {kept} kept, {lost} lost, {torn} torn"
