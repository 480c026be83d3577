"""Two systems: an update by stick, what a broken one leads to, and an update that is cut at any moment."""

import os
import random
import time

from harness import wire

from board import systems, writes
from board.card import call
from board.machine import Ended, Machine
from board.stick import Stick

FIVE_MINUTES = 300
CUTS, BOOTS = 40, 6
HEADER = 4096
PANICS = (systems.SCRIPT, b"#!/bin/sh\nmount -t proc proc /proc\necho c > /proc/sysrq-trigger\n")
HANGS = (
    systems.SCRIPT,
    b"#!/bin/sh\nmount -t proc proc /proc\nmount -t sysfs sys /sys\nmodprobe i6300esb\nsleep 1\n"
    b"echo '<4>pigeon: this one hangs' > /dev/kmsg\nwatchdog -T 10 -t 10000 /dev/watchdog0\nsleep 10000\n",
)


def with_key(world, card):
    """A card whose system takes updates signed with the tests' own key; answers the system and the secret key."""
    public, secret = world.folder / "release.pub", world.folder / "release.key"
    if not secret.exists():
        call("minisign", "-G", "-W", "-f", "-p", public, "-s", secret)
    octets = systems.changed(systems.read(world.system), {"etc/pigeon": (0o40755, b""), "etc/pigeon/release.pub": (systems.PLAIN, public.read_bytes())})
    systems.put(card, "a", octets)
    return octets, secret


def release(world, octets, version, secret):
    """A signed release of a system."""
    system, out = world.folder / f"{version}.system", world.folder / f"{version}.pigeon-update"
    system.write_bytes(octets)
    call(world.top / "board" / "release", system, version, "rpi-arm64", secret, out)
    return out


def updated(report, world):
    """Plugging a stick with a release starts the new system, with the mail of the old one."""
    label = "update"
    card = world.ready_card("update.img")
    octets, secret = with_key(world, card)
    newer = systems.changed(octets, {}, "0.2.0")
    stick = Stick(world.folder / "update-stick.img", {"pigeon-0.2.0.pigeon-update": release(world, newer, "0.2.0", secret).read_bytes()})
    before = card.copy(world.folder / "update-before.img")
    log = world.folder / "update.log"
    with Machine(card, world.folder / "update", start=("u-boot",), drive=writes.drive(card, log), extra=stick.words(), passwords={world.recipient: world.password}) as machine:
        place, _, _ = machine.wait(r"pigeon: Pigeon \S+, slot a", world.patience)
        place, _, _ = machine.wait(r"updated; starting the new system", world.patience, place)
        cut_until = os.path.getsize(log)
        place, at, _ = machine.wait(r"pigeon: Pigeon 0\.2\.0, slot b", world.patience, place)
        machine.wait(r"memory: ", world.patience, place)
        _, _, match = machine.wait(r"backed up to the stick in (\d+) s|the backup to the stick failed.*", world.patience, place)
        report.check(label, "a start with the stick plugged backs up", match[1] is not None, match[0])
        deadline = time.monotonic() + world.patience
        while card.slots().get("good") != "b" and time.monotonic() < deadline:
            time.sleep(1)
        report.check(label, "the new system is good", card.slots() | {"tries": ""} == {"good": "b", "try": "", "tries": ""}, str(card.slots()))
        good_from = os.path.getsize(log)
        machine.authority(world.patience)
        client = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        report.check(label, "the mail is there", client.select() == world.delivered)
        client.logout()
    print(f"  {label}: the new system's first line {at:.0f} s after power-on of the old one")
    _interrupted(report, world, before, writes.Log(log), (cut_until, good_from), newer)


def _interrupted(report, world, before, log, until, newer):
    """Whatever moment the plug was pulled in, U-Boot finds a whole system; some of them are started. A quarter of the cuts
    each falls anywhere up to the restart, into the writing of the slot, between the two, and into the new system's first start, U-Boot's
    own writes with it, until it is good."""
    label = "update, cut"
    chance = random.Random(int(os.environ.get("PIGEON_SEED", "1")))
    last, good = (log.first_after(place - 1) for place in until)
    begin, end = log.octets.find(newer[HEADER : 2 * HEADER]), log.octets.rfind(newer[-HEADER:])
    report.check(label, "the new system was written", 0 < begin < end, f"{begin} to {end} of {len(log.octets)}")
    begin, end = log.first_after(begin), log.first_after(end)
    moments = [range(last), range(begin, end), range(end, last), range(last, good)]
    ends, halves, again = [], 0, 0
    for number in range(CUTS):
        cut = before.copy(world.folder / "update-cut.img")
        what = log.cut(cut, chance.choice(moments[number % len(moments)]), chance)
        slot = systems.chosen(cut)
        written = (cut.read("slot-b/system") or b"")[: len(newer)]
        halves += written != newer and written[HEADER : 2 * HEADER] == newer[HEADER : 2 * HEADER]
        report.check(label, f"cut {number} finds a system", slot is not None, what)
        again += cut.slots() | {"good": ""} == {"good": "", "try": "b", "tries": "1"}
        ends.append(slot)
        if number < BOOTS and slot:
            with Machine(cut, world.folder / "update-cut", start=("u-boot",)) as machine:
                try:
                    machine.greeting(world.patience)
                    started = True
                except Ended as error:
                    started, what = False, f"{what}\n{error}"
            report.check(label, f"cut {number} starts", started, what)
    report.check(label, "some cuts met the slot half-written", halves > 0, str(ends))
    report.check(label, "some met the new system's first start, and leave it a second", again > 0, str(ends))
    report.check(label, "some stay with the old system, and some go to the new one", {"a", "b"} <= set(ends), str(ends))
    print(f"  {label}: {len(ends)} cuts, {halves} in the middle of the slot, {again} in the first start, {ends.count('a')} stay with the old system, {ends.count('b')} go to the new one")


def falls_back(report, world):
    """A new system that panics, hangs, does not serve, or is damaged: the one before comes back by itself and says so."""
    for name, start in (("panics", PANICS), ("hangs", HANGS)):
        label = f"a new system that {name}"
        card = world.ready_card("broken.img")
        systems.put(card, "b", systems.changed(systems.read(world.system), {"lib/pigeon/start": start}, "0.2.0"))
        systems.state(card, "a", "b", 1)
        with Machine(card, world.folder / "broken", start=("u-boot",)) as machine:
            place, _, _ = machine.wait(r"pigeon: slot b", world.patience)
            place, at, _ = machine.wait(r"pigeon: Pigeon \S+, slot a", world.patience, place)
            machine.wait(r"memory: ", world.patience, place)
            time.sleep(2)
            told = card.read("pigeon-report.txt") or b""
        print(f"  {label}: the old one is back {at:.0f} s after power-on")
        report.check(label, "it is told", b"update" in told, told.decode(errors="replace"))
    label = "a new system whose server does not answer"
    card = world.ready_card("broken.img")
    systems.put(card, "b", systems.changed(systems.read(world.system), {"lib/pigeon/serve": (systems.SCRIPT, b"#!/bin/sh\nexec sleep 100000\n")}, "0.2.0"))
    systems.state(card, "a", "b", 1)
    with Machine(card, world.folder / "broken", start=("u-boot",)) as machine:
        place, begun, _ = machine.wait(r"pigeon: Pigeon 0\.2\.0, slot b", world.patience)
        place, at, _ = machine.wait(r"on trial and has not come up: back to the one before", FIVE_MINUTES + world.patience, place)
        place, _, _ = machine.wait(r"pigeon: Pigeon \S+, slot a", world.patience, place)
        machine.wait(r"memory: ", world.patience, place)
        time.sleep(2)
        told = card.read("pigeon-report.txt") or b""
    print(f"  {label}: given up {at - begun:.0f} s after its first line")
    report.check(label, "it is given five minutes", at - begun > FIVE_MINUTES - 60, f"{at - begun:.0f} s")
    report.check(label, "it is told", b"update" in told, told.decode(errors="replace"))
    label = "a new system that stops half-way"
    script = (world.top / "board" / "root" / "lib" / "pigeon" / "start").read_text()
    stops = script.replace("mkfifo /run/sticks\n", "mkfifo /run/sticks\n/lib/pigeon/devices &\nsleep 100000\n")
    if stops == script:
        raise RuntimeError("start makes no /run/sticks")
    card = world.ready_card("broken.img")
    systems.put(card, "b", systems.changed(systems.read(world.system), {"lib/pigeon/start": (systems.SCRIPT, stops.encode())}, "0.2.0"))
    systems.state(card, "a", "b", 1)
    with Machine(card, world.folder / "broken", start=("u-boot",)) as machine:
        place, _, _ = machine.wait(r"pigeon: slot b", world.patience)
        place, _, _ = machine.wait(r"the hardware watchdog is fed", world.patience, place)
        place, _, _ = machine.wait(r"pigeon: Pigeon \S+, slot a", FIVE_MINUTES + world.patience, place)
        machine.wait(r"memory: ", world.patience, place)
        time.sleep(2)
        told = card.read("pigeon-report.txt") or b""
    report.check(label, "it is told", b"update" in told, told.decode(errors="replace"))
    label = "a new system that is damaged"
    card = world.ready_card("broken.img")
    octets = bytearray(systems.read(world.system))
    octets[len(octets) // 4] ^= 1
    systems.put(card, "b", bytes(octets))
    systems.state(card, "b")
    with Machine(card, world.folder / "broken", start=("u-boot",)) as machine:
        place, _, _ = machine.wait(r"slot b cannot be started", world.patience)
        place, _, _ = machine.wait(r"pigeon: Pigeon \S+, slot a", world.patience, place)
        machine.wait(r"memory: ", world.patience, place)
        time.sleep(2)
        told = card.read("pigeon-report.txt") or b""
    report.check(label, "the other one starts, and it is told", b"damaged" in told, told.decode(errors="replace"))
