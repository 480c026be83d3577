"""From power-on to mail read: the image starts by its own boot script, takes a mail over SMTP, and gives it to curl and mbsync; what it needs in time,
memory and octets beside its demands; and what is on the card afterwards."""

import os
import subprocess

from clients import readers
from harness import mails, wire

from board.card import call
from board.machine import SLOWER, Machine

GREETING_S = 10
PROCESSOR_S = 20  # of qemu until the greeting, twice what it takes: unlike the clock hardly more on a busy machine
SYSTEM_KIB = 40 * 1024
RESIDENT_KIB, ANONYMOUS_KIB = 6 * 1024, 2560  # README's budgets: static musl, started, no connection
SENDER = "sender@example.net"


def curl(machine, url, user, *words, ca=True):
    """curl against the machine, its certificate checked against the authority that lies on the card."""
    told = ["curl", "-sS", "--max-time", "120", url, *words]
    if user:
        told += ["--user", f"{user}:{machine.passwords[user]}"]
    if ca:
        told += ["--cacert", str(machine.ca)]
    done = subprocess.run(told, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"curl {url}: {done.returncode}, {done.stderr.decode(errors='replace')}")
    return done.stdout


def delivered_and_read(report, label, machine, recipient, folder, patience):
    """One mail in by curl over SMTP, out by curl over IMAPS and POP3S and by mbsync."""
    octets = mails.typical(7, 4000, message_id="first@board.example")
    file = folder / "mail"
    file.write_bytes(octets)
    curl(machine, f"smtp://localhost:{machine.ports['smtp']}/client.example.net", None, "--mail-from", SENDER, "--mail-rcpt", recipient, "--upload-file", str(file), ca=False)
    machine.authority(patience)
    for name, url in (("IMAPS", f"imaps://localhost:{machine.ports['imaps']}/INBOX;MAILINDEX=1"), ("POP3S", f"pop3s://localhost:{machine.ports['pop3s']}/1")):
        got = curl(machine, url, recipient)
        report.check(label, f"curl reads it over {name}", b"first@board.example" in got and got.rstrip().endswith(octets.rstrip()[-200:]), f"{len(got)} octets")
    (folder / "mbsync").mkdir(exist_ok=True)
    rc = readers.secret_file(folder / "mbsync" / "rc", readers.mbsync_settings(machine, recipient, folder / "mbsync", "tls", machine.ports["imaps"], "Patterns INBOX\nSync Pull\n"))
    readers.run(["mbsync", "-c", rc, "-q", "all"], folder / "mbsync")
    found = readers.maildir(folder / "mbsync" / "INBOX")
    report.check(label, "mbsync reads it", len(found) == 1 and b"first@board.example" in found[0], f"{len(found)} messages")
    report.messages(label, 1)


def memory(report, machine, board, megabytes, patience):
    """What the machine says of its memory, beside the demands."""
    _, _, match = machine.wait(r"memory: (\d+) KiB of (\d+) in use, the server resident (\d+) KiB, anonymous (\d+)", patience)
    used, total, resident, anonymous = map(int, match.groups())
    report.figure(f"board: RAM in use, whole system, {board} (kernel's own {megabytes - total / 1024:.0f} MiB not counted)", used / 1024, SYSTEM_KIB / 1024, "MiB", used <= SYSTEM_KIB)
    report.figure(f"board: the server resident, {board}", resident / 1024, RESIDENT_KIB / 1024, "MiB", resident <= RESIDENT_KIB)
    report.figure(f"board: its anonymous part, {board}", anonymous / 1024, ANONYMOUS_KIB / 1024, "MiB", anonymous <= ANONYMOUS_KIB)


def first_mail(report, world):
    """A flashed card with a prepared file, to a mail read; then the power button."""
    label = "first boot, -M virt"
    card = world.fresh_card("first.img", world.first_boot_file)
    folder = world.folder / "first"
    draft = "a-draft-that-an-editor-left-6203"
    card.write("draft.toml", f'password = "{draft}"\n'.encode())
    call("mdel", "-i", card.fat, "::draft.toml")
    report.check(label, "an earlier draft of the password is on the card", card.holds(draft.encode()))
    with Machine(card, folder, start=("u-boot",), passwords={world.recipient: world.password}) as machine:
        greeting = machine.greeting(world.patience)
        used_s = machine.processor_s()
        print(f"  {label}: {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
        report.figure("board: power-on to greeting, -M virt", greeting, GREETING_S, "s", greeting <= GREETING_S * SLOWER)
        report.figure("board: qemu's processor time until then", used_s, PROCESSOR_S, "s", used_s <= PROCESSOR_S)
        delivered_and_read(report, label, machine, world.recipient, folder, world.patience)
        memory(report, machine, "-M virt", 512, world.patience)
        report.check(label, "the hardware watchdog is fed", machine.said("watchdog is fed"))
        machine.wait(r"free space of the card is overwritten", world.patience)
        took = machine.power_button(world.patience)
        report.check(label, "the power button ends it cleanly", machine.said("pigeon: stopped"), machine.tail())
        print(f"  {label}: greeting after {greeting:.1f} s, off {took:.1f} s after the button")
        told = (card.read("pigeon-report.txt") or b"").decode(errors="replace")
        report.check(label, "the report names the address and the certificate to trust", "10.0.2.15" in told and "pigeon-ca.crt" in told, told)
    report.check(label, "the password is nowhere on the card", not card.holds(world.password.encode()))
    report.check(label, "nor is its draft, and nothing is left of what overwrote it", not card.holds(draft.encode()) and card.read("pigeon-zeros.tmp") is None)
    told = card.read("pigeon.toml")
    report.check(label, "the file is still there, without its secret", told is not None and world.recipient.encode() in told, str(told))
    with Machine(card, folder, start=world.direct, passwords={world.recipient: world.password}) as machine:
        machine.greeting(world.patience)
        machine.authority(world.patience)
        client = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        report.check(label, "after a restart the mail is there", client.select() == 1)
        client.logout()
        told = (card.read("pigeon-report.txt") or b"").decode(errors="replace")
        report.check(label, "the report is that of this start", "All is well" in told and ": added" not in told, told)


def raspi(report, world):
    """The same on the Pi's own devices: SD controller, USB host, USB network. The watchdog's driver is kept from starting: qemu's
    power management (hw/misc/bcm2835_powermgt.c) has no timer, and resets the machine at the write that starts it."""
    label = "first boot, -M raspi3b"
    print(f"  {label}: not tested: the Pi's own watchdog, because qemu resets the machine as soon as it is started")
    card = world.fresh_card("raspi.img", world.first_boot_file)
    folder = world.folder / "raspi"
    dtb = folder / "board.dtb"
    folder.mkdir(exist_ok=True)
    dtb.write_bytes(card.read("bcm2837-rpi-3-b.dtb"))
    with Machine(card, folder, start=world.direct, kind="raspi3b", options="initcall_blacklist=bcm2835_wdt_driver_init", extra=["-dtb", str(dtb)], passwords={world.recipient: world.password}) as machine:
        greeting = machine.greeting(world.patience * 2)
        print(f"  {label}: greeting after {greeting:.1f} s, {machine.processor_s():.1f} s of processor time; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
        delivered_and_read(report, label, machine, world.recipient, folder, world.patience)
        memory(report, machine, "-M raspi3b", 1024 - 64, world.patience)  # 64 MiB of its 1 GiB are the graphics processor's
    report.check(label, "the password is nowhere on the card", not card.holds(world.password.encode()))


def image_size(report, world):
    """Compressed as one downloads it."""
    done = subprocess.run(["xz", "-9", "-T1", "-c", world.image], capture_output=True, check=True)
    size = len(done.stdout) / 1e6
    report.figure("board: image, compressed by xz", size, 24, "MB", size <= 24)
