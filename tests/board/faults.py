"""What goes wrong in a house: a mistake in the first-boot file, no network, a wrong clock, a full card, bad sectors. Each time the
box comes up and says what is wrong."""

import hashlib
import json
import re
import socket
import struct
import threading
import time

from harness import mails, wire

from board.card import call
from board.machine import Machine

THREE_MINUTES = 180
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970 (RFC 5905, section 6)


def mistake(report, world):
    """Mistakes in the file: each told in a file on the card and on the console; the server is up, or why it is not is told there."""
    label = "a mistake in pigeon.toml"
    wrong = 'hostnam = "mail.example.org"\n[board]\nname = "under_score!"\n[wifi\n'
    card = world.fresh_card("mistake.img", wrong)
    with Machine(card, world.folder / "mistake", start=world.direct) as machine:
        machine.greeting(world.patience)
        machine.wait(r"memory: ", world.patience)
        told = (card.read("pigeon-report.txt") or b"").decode(errors="replace")
        report.check(label, "all is not called well", "There are mistakes" in told and "All is well" not in told, told)
        for place, words in (("1:1", "unknown key `hostnam`"), ("3:8", "`under_score!` is no name"), ("4:6", "unclosed table")):
            line = f"pigeon.toml:{place}: error: {words}"
            report.check(label, f"{place} is told on the card", line in told, told)
            report.check(label, f"{place} is told on the console", machine.said(re.escape(f"pigeon: {line}")), machine.tail(80))
    label = "an address that the board does not have"
    card = world.fresh_card("listen.img", world.first_boot_file + '[listen]\nsmtp = "192.0.2.10:25"\n')
    with Machine(card, world.folder / "listen", start=world.direct) as machine:
        machine.greeting(world.patience)
        report.check(label, "it is served on those it has, and told", *machine.reports(r"`smtp` in \[listen\] names 192\.0\.2\.10: ", world.patience))
    label = "a wish for a restore that is not understood"
    card = world.fresh_card("unclear.img", world.first_boot_file.replace("[board]\n", "[board]\nrestore = yes\n"))
    with Machine(card, world.folder / "unclear", start=world.direct) as machine:
        machine.wait("there is no configuration", world.patience)
        is_told, told = machine.reports("it cannot be told whether mail is to come back", world.patience)
        report.check(label, "no store is made, and it is told", is_told, told)
        report.check(label, "nothing is taken over", world.password.encode() in (card.read("pigeon.toml") or b""), told)
    label = "a server that does not start"
    card = world.ready_card("half.img")
    _leave_mark(card, world.folder)
    with Machine(card, world.folder / "half", start=world.direct) as machine:
        is_told, told = machine.reports(r"the server does not start: \S", world.patience * 2)
        report.check(label, "told on the card, with its last words", is_told, told)
        report.check(label, "what to do is told there", "the restore was cut short" in told and "All is well" not in told, told)


def _leave_mark(card, folder):
    """What a restore that was cut short leaves: a mark with which no server opens the mail."""
    partition, mark = card.data(folder / "half.ext4"), folder / "mark"
    mark.write_bytes(b"")
    call("e2fsck", "-fp", partition, check=False)
    call("debugfs", "-w", "-R", f"write {mark} /pigeon/restoring", partition)
    call("dd", f"if={partition}", f"of={card.path}", "bs=1M", f"seek={card.data_at()[0] >> 20}", "conv=notrunc", "status=none")
    partition.unlink()


def no_network(report, world):
    """No network at all: everything else is up, and it is said."""
    label = "no network"
    card = world.ready_card("alone.img")
    with Machine(card, world.folder / "alone", start=world.direct, passwords={}) as machine:
        machine.ask("set_link", name="n", up=False)
        machine.wait(r"the server answers", world.patience)
        machine.wait(r"no network after a minute: no cable", world.patience)
        report.check(label, "the report says it", *machine.reports("no network after a minute: no cable", world.patience / 10))


def fixed_address(report, world):
    """A fixed address while another interface has no cable, and no SMTP: reached by IMAP, called healthy, reached by the other later."""
    label = "a fixed address"
    text = world.first_boot_file.replace("[board]\n", '[board]\naddress = "10.0.2.15/24"\ngateway = "10.0.2.2"\ndns = ["10.0.2.3"]\n')
    card = world.fresh_card("fixed.img", text + '[listen]\nsmtp = "off"\n')
    second = ["-netdev", "user,id=second,restrict=on", "-device", "virtio-net-device,netdev=second"]
    passwords = {world.recipient: world.password}
    with Machine(card, world.folder / "fixed", start=world.direct, extra=second, passwords=passwords) as machine:
        machine.ask("set_link", name="second", up=False)
        place, _, match = machine.wait(r"(eth\d) has 10\.0\.2\.15", world.patience)
        machine.authority(world.patience)  # written once the server is known to serve
        client = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        client.select()
        client.logout()
        report.check(label, "reached, and healthy without SMTP", True)
        machine.ask("set_link", name="n", up=False)
        machine.ask("set_link", name="second", up=True)
        _, _, other = machine.wait(r"(eth\d) has 10\.0\.2\.15", world.patience, place)
        report.check(label, "the address goes with the cable", other[1] != match[1], other[0])
    label = "a fixed address whose way out is wrong"
    text = world.first_boot_file.replace("[board]\n", '[board]\naddress = "10.0.2.15/24"\ngateway = "10.0.3.2"\n')
    with Machine(world.fresh_card("way-out.img", text), world.folder / "way-out", start=world.direct) as machine:
        machine.greeting(world.patience)
        is_told, told = machine.reports(r"`10\.0\.3\.2` is in no network of `address`", world.patience)
        report.check(label, "it is reached all the same, and told", is_told and "`address` without `dns`" in told, told)


class Time(threading.Thread):
    """An SNTP server (RFC 4330), on loopback unless told otherwise, that says to whoever asks that it is three weeks later: a date
    that no card and no emulated clock has by itself."""

    AHEAD_S = 21 * 86_400

    def __init__(self, address="127.0.0.1", port=0):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                octets, peer = self.socket.recvfrom(1000)
            except OSError:
                return
            now = time.time() + self.AHEAD_S + NTP_EPOCH
            stamp = struct.pack("!II", int(now), int(now % 1 * (1 << 32)))
            # Leap 0, version 4, mode 4 (server); stratum 1; the asker's transmit time comes back as the originate time.
            self.socket.sendto(struct.pack("!BBbb", 0x24, 1, 0, -20) + bytes(8) + b"GPS\0" + stamp + octets[40:48] + stamp + stamp, peer)


def wrong_clock(report, world):
    """A board that believes it is 1999: never before its own making; right once a server tells, and where none does the report says so."""
    label = "a wrong clock"
    true = Time()
    card = world.fresh_card("clock.img", world.first_boot_file.replace("[board]\n", f'[board]\nntp = "10.0.2.2:{true.port}"\n'))
    with Machine(card, world.folder / "clock", start=world.direct, extra=["-rtc", "base=1999-01-01T00:00:00"], outside=True, passwords={world.recipient: world.password}) as machine:
        machine.greeting(world.patience)
        machine.authority(world.patience)
        machine.wait(r"the clock does not know the time", world.patience)
        machine.wait(r"clock set server=10\.0\.2\.2", world.patience)
        client = wire.Smtp(machine)
        client.deliver([world.recipient], mails.typical(1, 1000, message_id="clock@board.example"))
        client.quit()
        reader = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        reader.select()
        octets = b" ".join(part for response in reader.command("FETCH 1 INTERNALDATE") for part in response)
        reader.logout()
        today = time.gmtime(time.time() + true.AHEAD_S)
        report.check(label, "a mail has the date that was told", time.strftime("%d-%b-%Y", today).encode() in octets, octets.decode(errors="replace"))
    true.socket.close()
    label = "a wrong clock that nobody sets"
    with Machine(card, world.folder / "clock-alone", start=world.direct, extra=["-rtc", "base=1999-01-01T00:00:00"]) as machine:
        is_told, told = machine.reports("no time server was believed", THREE_MINUTES + world.patience)
        report.check(label, "the report says it", is_told and "All is well." not in told, told)


def full_card(report, world):
    """A card that fills up refuses for now, and everything in it can be read."""
    label = "a full card"
    card = world.ready_card("full.img")
    with Machine(card, world.folder / "full", start=world.direct, passwords={world.recipient: world.password}) as machine:
        machine.greeting(world.patience)
        machine.authority(world.patience)
        taken, refusal = 0, None
        client = wire.Smtp(machine)
        while refusal is None and taken < 200:
            try:
                client.deliver([world.recipient], mails.typical(taken, 2_000_000, message_id=f"f{taken}@full.example"))
                taken += 1
            except wire.Refused as error:
                refusal = str(error)
        report.check(label, "mail is refused for now", refusal is not None and "452" in refusal, str(refusal))
        reader = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        report.check(label, "everything taken is there", reader.select() == taken + world.delivered)
        reader.logout()
        report.check(label, "it is said", machine.said("the disk is full"), machine.tail())
        print(f"  {label}: full after {taken} messages of 2 MB")
        machine.power_button(world.patience)
    label = "a full card, started again"
    with Machine(card, world.folder / "full-again", start=world.direct, passwords={world.recipient: world.password}) as machine:
        machine.greeting(world.patience)
        machine.authority(world.patience)
        reader = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        report.check(label, "everything taken is there", reader.select() == taken + world.delivered)
        octets = b"".join(reader.command(f"UID FETCH {taken} BODY.PEEK[HEADER]")[0])
        report.check(label, "and can be read", f"f{taken - world.delivered - 1}@full.example".encode() in octets, octets.decode(errors="replace")[:300])
        reader.command(f"STORE {world.delivered + 1}:* +FLAGS.SILENT (\\Deleted)")
        reader.command("EXPUNGE")
        reader.logout()
        deadline, refusal = time.monotonic() + world.patience, "never tried"
        while refusal and time.monotonic() < deadline:
            try:
                client = wire.Smtp(machine)
                client.deliver([world.recipient], mails.typical(1, 2_000_000, message_id="after@full.example"))
                refusal = None
            except wire.Refused as error:
                refusal = str(error)
                time.sleep(5)
            client.close()
        report.check(label, "mail comes again once there is room", refusal is None, str(refusal))


def bad_sectors(report, world):
    """Sectors under a message's octets that cannot be read any more: the box comes up, the other mail is read, it is said which."""
    label = "bad sectors"
    card = world.ready_card("bad.img")
    partition = card.data(world.folder / "bad.ext4")
    call("e2fsck", "-fp", partition, check=False)
    names = re.findall(r"\d+ +\d+ \(\d+\) +\d+ +\d+ +(\d+) .* (\S+)$", call("debugfs", "-R", "ls -l /pigeon/log", partition).stdout.decode(), re.MULTILINE)
    size, name = max((int(size), name) for size, name in names if name.endswith(".body"))
    blocks = call("debugfs", "-R", f"blocks /pigeon/log/{name}", partition).stdout.decode().split()
    partition.unlink()
    # The first page of the segment is its head; a mail's octets lie in the next ones.
    sector = card.data_at()[0] // 512 + int(blocks[min(3, len(blocks) - 1)]) * 8
    errors = [{"event": "none", "iotype": "read", "errno": 5, "sector": sector + n, "once": False} for n in range(8)]
    file = {"driver": "file", "filename": str(card.path)}
    drive = ["-blockdev", json.dumps({"driver": "raw", "node-name": "card", "file": {"driver": "blkdebug", "image": file, "inject-error": errors}})]
    with Machine(card, world.folder / "bad", start=world.direct, drive=drive, passwords={world.recipient: world.password}) as machine:
        machine.greeting(world.patience)
        machine.wait(r"memory: ", world.patience)
        machine.authority(world.patience)
        client = wire.Smtp(machine)
        client.deliver([world.recipient], mails.typical(2, 30_000, message_id="other@bad.example"))
        client.quit()
        reader = wire.Imap(machine, "imaps", tls=True, user=world.recipient)
        report.check(label, f"it comes up ({name}, {size} octets), and takes mail", reader.select() == world.delivered + 1)
        told = reader.command("FETCH 1 BODY.PEEK[]", good=("OK", "NO"))
        report.check(label, "the message that lies there is not given out in part", told[-1][0].split()[1] == b"NO", str(told)[:500])
        octets = b"".join(part for response in reader.command("FETCH 2 BODY.PEEK[]") for part in response)
        report.check(label, "the other one is", b"other@bad.example" in octets, f"{len(octets)} octets")
        reader.logout()
        report.check(label, "it is said where", machine.said(rf"reading blob \d+ in segment {int(re.sub(r'[^0-9]', '', name))}: "), machine.tail())


def another_card(report, world):
    """Another card of ours in a USB reader: the one that the board was started from is used, the other stays as it is."""
    label = "another card in a reader"
    other = world.ready_card("other.img")
    before = hashlib.sha256(other.path.read_bytes()).hexdigest()
    other_name = "bob@example.org"
    card = world.fresh_card("own.img", world.first_boot_file.replace(world.recipient, other_name))
    reader = ["-drive", f"if=none,id=other,format=raw,file={other.path}", "-device", "usb-storage,bus=usb.0,drive=other"]
    with Machine(card, world.folder / "another", start=world.direct, extra=reader, passwords={other_name: world.password}) as machine:
        machine.greeting(world.patience)
        machine.authority(world.patience)
        client = wire.Imap(machine, "imaps", tls=True, user=other_name)
        report.check(label, "the mail is that of the card it was started from", client.select() == 0)
        client.logout()
        machine.wait(r"sd \d+:0:0:0: ", world.patience)
        machine.power_button(world.patience)
    report.check(label, "the other is as it was", hashlib.sha256(other.path.read_bytes()).hexdigest() == before)
