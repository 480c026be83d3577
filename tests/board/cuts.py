"""Power cuts under load: mail arrives in the machine over several connections while every write to its card is logged; the plug
is pulled; cards are made as a cut at random moments could have left them, and nothing that was acknowledged may be missing."""

import os
import random
import re
import shutil
import subprocess
import threading
import time

from harness import mails, wire
from harness.server import binary

from board import writes
from board.card import read_data
from board.machine import Machine

CONNECTIONS = 3
MESSAGE_OCTETS = (200, 20_000)
ACKNOWLEDGED_MIN = 25


class Damaged(Exception):
    """What a cut left on a card is not whole, says `pigeon verify`."""


class Load:
    """Deliveries over several connections; each acknowledged one with how long the log was when its 250 came."""

    def __init__(self, machine, recipient, log):
        self.machine, self.recipient, self.log = machine, recipient, log
        self.acknowledged, self.lock, self.ended = [], threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._deliver, args=(number,)) for number in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def _deliver(self, number):
        chance, count = random.Random(number), 0
        try:
            client = wire.Smtp(self.machine)
            while not self.ended.is_set():
                count += 1
                name = f"c{number}-{count}@cuts.example"
                client.deliver([self.recipient], mails.typical(number * 1000 + count, chance.randint(*MESSAGE_OCTETS), message_id=name))
                with self.lock:
                    self.acknowledged.append((os.path.getsize(self.log), name))
        except (OSError, ConnectionError, wire.Refused):
            return  # the plug was pulled

    def stop(self):
        """After the plug was pulled."""
        self.ended.set()
        for thread in self.threads:
            thread.join()


def kept(card, folder, recipient, repair):
    """The Message-IDs that the native build finds on a card; it verifies everything, too."""
    data = read_data(card, folder / "data", repair=repair)
    words = [binary(), "--config", data / "pigeon.toml"]
    checked = subprocess.run([*words, "verify"], capture_output=True, check=False, timeout=300)
    if checked.returncode != 0:
        kind = Damaged if checked.returncode == 1 else RuntimeError
        raise kind(f"pigeon verify ended with {checked.returncode}: {(checked.stdout + checked.stderr).decode()[-500:]}")
    target = folder / "export"
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([*words, "export", recipient, target, "--format", "mbox"], capture_output=True, check=True, timeout=300)
    return set(re.findall(r"^Message-ID: <([^>]*)>", "".join(path.read_text(errors="replace") for path in target.glob("*.mbox")), re.MULTILINE))


def under_load(report, world, *, seconds, cuts, lies):
    """The test and its control: the same cuts of a card that ignores flushes must lose something."""
    label = "power cuts"
    card = world.ready_card("cuts.img")
    before = card.copy(world.folder / "cuts-before.img")
    log = world.folder / "cuts.log"
    with Machine(card, world.folder / "cuts", start=world.direct, drive=writes.drive(card, log)) as machine:
        machine.greeting(world.patience)
        load = Load(machine, world.recipient, log)
        time.sleep(seconds)
        # A busy machine may take longer for as much.
        deadline = time.monotonic() + world.patience
        while len(load.acknowledged) < ACKNOWLEDGED_MIN and time.monotonic() < deadline:
            time.sleep(1)
        machine.kill()
        load.stop()
    acknowledged, entries = load.acknowledged, writes.Log(log)
    report.messages(label, len(acknowledged))
    if not report.check(label, "mail was acknowledged under load", len(acknowledged) >= ACKNOWLEDGED_MIN, f"{len(acknowledged)}"):
        return
    chance = random.Random(int(os.environ.get("PIGEON_SEED", "1")))
    first = entries.first_after(acknowledged[0][0])
    work = world.folder / "cut"
    work.mkdir(exist_ok=True)

    def lost(number, liar):
        at = chance.randrange(first, len(entries.entries))
        cut = before.copy(world.folder / "cut.img")
        what = entries.cut(cut, at, chance, liar)
        wanted = {name for place, name in acknowledged if place <= entries.entries[at][0]}
        try:
            absent = wanted - kept(cut, work, world.recipient, repair=liar)
        except Damaged as error:
            return True, f"cut {number}, {what}: {error}"
        except (RuntimeError, subprocess.SubprocessError) as error:
            return False, f"cut {number}, {what}: {error}"
        return bool(absent), absent and f"cut {number}, {what}: {len(absent)} of {len(wanted)} lost, such as {sorted(absent)[0]}"

    for number in range(cuts):
        _, why = lost(number, liar=False)
        report.check(label, f"cut {number} loses nothing", not why, why or "")
    is_found_out = False
    for number in range(lies):
        # Mail must be missing or damaged: a program that takes too long, say, shows nothing.
        is_found_out, why = lost(number, liar=True)
        if why:
            print(f"  control: {why}")
        if is_found_out:
            break
    report.check(label, "a card that ignores flushes is found out", is_found_out, f"none of {lies} cuts lost any mail")
    print(f"  {label}: {len(acknowledged)} messages acknowledged, {len(entries.entries)} writes with {len(entries.flushes)} flushes, {cuts} cuts")
