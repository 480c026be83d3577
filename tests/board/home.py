"""A board in a home: in a network namespace with a router that gives out IPv4 addresses (DHCP) and an IPv6 prefix (router
advertisements) and answers for names, and with two time servers; the card was prepared by Raspberry Pi Imager. Everything the
test says to the board goes by its name, post.local, as the machines of a home find it, and over IPv6."""

import json
import os
import subprocess
import sys
import time

from harness import mails

from board.faults import Time
from board.machine import Machine
from board.mail import SENDER
from board.shell import key

ROUTER, PREFIX = "192.168.50.1", "fd50:7069:6765:6f6e"
TIME_SERVERS = (ROUTER, "192.168.50.2")
NAME = "post"
# What another machine of the home learns by asking all of them (RFC 6762, RFC 6763); this is python-zeroconf's work.
FOUND = """
import json, sys, threading, zeroconf
asker, found, seen = zeroconf.Zeroconf(), [], threading.Event()
def change(zeroconf, service_type, name, state_change):
    found.append(name)
    seen.set()
browser = zeroconf.ServiceBrowser(asker, "_imaps._tcp.local.", handlers=[change])
seen.wait(float(sys.argv[1]))
info = asker.get_service_info("_imaps._tcp.local.", found[0], 30_000) if found else None
print(json.dumps(info and {"host": info.server, "port": info.port, "addresses": info.parsed_addresses()}))
asker.close()
"""


class Home:
    """The network namespace and who lives in it; they end with it, and it with this object."""

    def __init__(self, folder):
        self.children, self.folder = [], folder
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        # Holds the namespace until its input is closed, so it cannot outlive this process.
        self.holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdin.write(b"\n")
        self.holder.stdin.flush()
        if not self.holder.stdout.readline():
            raise RuntimeError("this part makes a network namespace, so it must run as root")
        for words in (
            "link set lo up",
            "tuntap add tap0 mode tap",
            "link set tap0 up",
            f"addr add {ROUTER}/24 dev tap0",
            f"addr add {TIME_SERVERS[1]}/24 dev tap0",
            f"addr add {PREFIX}::1/64 dev tap0 nodad",
        ):
            self.run("ip", *words.split())
        # No configuration, no server beyond it, nothing kept: only what stands here.
        words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--interface=tap0"]
        words += [f"--dhcp-leasefile={self.folder / 'leases'}", "--pid-file=", "--dhcp-range=192.168.50.100,192.168.50.120,1h"]
        words += [f"--dhcp-range={PREFIX}::,ra-only,64", "--enable-ra"]
        words += ["--local=/debian.pool.ntp.org/"]
        words += [f"--host-record={number}.debian.pool.ntp.org,{address}" for number, address in enumerate(TIME_SERVERS)]
        self.start(words)
        program = "import signal, sys; from board.faults import Time; held = [Time(a, 123) for a in sys.argv[1:]]; signal.pause()"
        self.start([sys.executable, "-c", program, *TIME_SERVERS])
        return self

    def inside(self):
        """The words that run a program in it."""
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--"]

    def start(self, words):
        """A program that runs until the end."""
        with open(self.folder / f"{os.path.basename(words[0])}.log", "wb") as log:
            self.children.append(subprocess.Popen([*self.inside(), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def run(self, *words, seconds=300):
        """One program in it; its output. One that fails says why."""
        done = subprocess.run([*self.inside(), *map(str, words)], capture_output=True, timeout=seconds, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, words))[:200]}: {done.returncode}, {done.stderr.decode(errors='replace')[-800:]}")
        return done.stdout.decode(errors="replace")

    def __exit__(self, kind, value, trace):
        for child in self.children:
            child.kill()
            child.wait()
        self.holder.stdin.close()
        self.holder.wait(30)


def by_name(report, world):
    """Imager's file, DHCP, IPv6, the time of two servers, and post.local: found, read and written to by name, over IPv6."""
    label = "in a home's network"
    own = key(world.folder, "ssh-key-of-imager")
    card = world.fresh_card("home.img", world.first_boot_file.replace('hostname = "mail.example.org"\n', ""))
    secret = "$y$j9T$imagers$hash-of-a-password"
    public = own.with_suffix(".pub").read_text().strip()
    card.write(
        "custom.toml",
        f'config_version = 1\n[system]\nhostname = "{NAME}"\n[user]\nname = "alice"\npassword = "{secret}"\npassword_encrypted = true\n'
        f'[ssh]\nenabled = true\npassword_authentication = false\nauthorized_keys = [ "{public}" ]\n[locale]\nkeymap = "gb"\n'.encode(),
    )
    passwords = {world.recipient: world.password}
    with Home(world.folder / "home") as home:
        clock = ["-rtc", "base=1999-01-01T00:00:00"]
        with Machine(card, world.folder / "home-board", start=world.direct, extra=clock, passwords=passwords, home=home) as machine:
            machine.authority(world.patience)
            _, _, match = machine.wait(r"eth0 has (192\.168\.50\.1[0-2]\d)/24", world.patience)
            machine.wait(r"clock set server=192\.168\.50\.[12]", world.patience)
            report.check(label, "an address by DHCP, and the time that two servers agree on", True)
            found = json.loads(home.run(sys.executable, "-c", FOUND, world.patience / 10, seconds=world.patience))
            report.check(label, "the service _imaps is found", found and (found["host"], found["port"]) == (f"{NAME}.local.", 993), str(found))
            addresses = found["addresses"]
            report.check(label, "under the address that was given out", match[1] in addresses, str(addresses))
            sixth = [address for address in addresses if address.startswith(f"{PREFIX}:")]
            report.check(label, "and under one in the router's IPv6 prefix", len(sixth) == 1, str(addresses))

            octets = mails.typical(9, 4000, message_id="home@board.example")
            file = world.folder / "home" / "mail"
            file.write_bytes(octets)
            known = [f"{NAME}.local:{port}:[{sixth[0]}]" for port in (25, 993)]
            curl = ["curl", "-sS", "-6", "--max-time", "120", "--cacert", machine.ca, *(word for one in known for word in ("--resolve", one))]
            home.run(*curl, "--ssl-reqd", f"smtp://{NAME}.local:25/client.example.net", "--mail-from", SENDER, "--mail-rcpt", world.recipient, "--upload-file", file)
            got = home.run(*curl, f"imaps://{NAME}.local/INBOX;MAILINDEX=1", "--user", f"{world.recipient}:{world.password}")
            report.check(label, "curl delivers and reads over IPv6 and TLS, by the name in its certificate", "home@board.example" in got, got[:300])
            report.messages(label, 1)

            options = ["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
            ssh = ["ssh", "-F", "none", "-i", own, *options, f"root@{sixth[0]}", "hostname; date +%s"]
            deadline = time.monotonic() + world.patience
            while True:  # it comes after the server
                try:
                    told = home.run(*ssh).split()
                    break
                except RuntimeError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(2)
            report.check(label, "Imager's key opens ssh, its name is the board's", told[0] == NAME, str(told))
            off_s = int(told[1]) - time.time() - Time.AHEAD_S
            report.check(label, "the clock is right", abs(off_s) < 60, f"{off_s:.0f} s off")
            machine.power_button(world.patience)
    told = (card.read("pigeon-report.txt") or b"").decode(errors="replace")
    report.check(label, "the report names the name and the addresses", f"{NAME}.local" in told and match[1] in told and sixth[0] in told, told)
    report.check(label, "and says that Imager's password is no mail password", "Imager gives a hash" in told, told)
    report.check(label, "that hash is nowhere on the card", not card.holds(secret.encode()))
