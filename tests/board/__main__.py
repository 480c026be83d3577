"""The image in an emulated board: python -m board RESULTS.json [--binary FILE] [--image FILE] [--without PART]... [part ...]

Parts: see PARTS. `gate` is those of every change; no part named means all. A part left out makes the exit status 1 unless it is named
with --without.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from harness import mails, wire
from harness.report import Report
from harness.server import binary

from board import card as cards
from board import cuts, faults, home, machine, mail, memory, shell, slots, stick, twice, wifi
from board.machine import SLOWER, Machine

TOP = Path(__file__).resolve().parent.parent.parent
GATE_CUTS, LONG_CUTS = 8, 40


class World:
    """What the parts share: the image, a card that has been through its first boot, how long one waits."""

    def __init__(self, image):
        self.top, self.image, self.system = TOP, Path(image), Path(image).with_suffix(".system")
        self.folder = TOP / "target" / "tests" / "board"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.direct = ("direct", *cards.kernel_and_initrd(self.system, self.folder))
        self.patience = 30 * SLOWER
        self.recipient, self.password = "alice@example.org", "a-password-on-no-card-9147"
        self.first_boot_file = f'hostname = "mail.example.org"\n[board]\naccount = "{self.recipient}"\npassword = "{self.password}"\n'
        self.delivered = 1  # mails on the card that is ready

    def fresh_card(self, name, text, mebibytes=256):
        """A flashed card (its size a power of two, as the emulated SD controller wants) with a first-boot file."""
        card = cards.Card(self.folder / name, self.image, mebibytes)
        card.write("pigeon.toml", text.encode())
        return card

    def ready_card(self, name):
        """A card after its first boot, with one mail on it, too large for the log: it has a body segment."""
        ready = self.folder / "ready.img"
        if not ready.exists():
            card = self.fresh_card("making-ready.img", self.first_boot_file)
            with Machine(card, self.folder / "ready", start=self.direct) as board:
                board.greeting(self.patience)
                client = wire.Smtp(board)
                client.deliver([self.recipient], mails.typical(3, 300_000, message_id="ready@board.example"))
                client.quit()
                board.wait("memory: ", self.patience)
                board.authority(self.patience)
                board.power_button(self.patience)
            card.path.rename(ready)
        return cards.Card(ready).copy(self.folder / name)


def _cuts_short(report, world):
    """Power cuts under load, a few."""
    cuts.under_load(report, world, seconds=15, cuts=GATE_CUTS, lies=GATE_CUTS)


def _cuts_long(report, world):
    """Power cuts under load, many."""
    cuts.under_load(report, world, seconds=60, cuts=LONG_CUTS, lies=GATE_CUTS)


PARTS = {
    "size": mail.image_size,
    "mail": mail.first_mail,
    "cuts": _cuts_short,
    "raspi": mail.raspi,
    "mistake": faults.mistake,
    "network": faults.no_network,
    "fixed": faults.fixed_address,
    "home": home.by_name,
    "clock": faults.wrong_clock,
    "full": faults.full_card,
    "bad": faults.bad_sectors,
    "another": faults.another_card,
    "stick": stick.backed_up_and_restored,
    "pulled": stick.pulled_out,
    "sticks": stick.of_every_kind,
    "update": slots.updated,
    "fall-back": slots.falls_back,
    "wifi": wifi.simulated,
    "ssh": shell.only_with_a_key,
    "memory": memory.inside_budgets,
    "twice": twice.built_twice,
    "cuts-long": _cuts_long,
}
GATE = ["size", "mail", "cuts"]


def main(words):
    """Runs the parts; returns the exit code."""
    results, words = Path(words[0]), list(words[1:])
    given = {"--binary": [], "--image": [], "--without": []}
    parts = []
    while words:
        word = words.pop(0)
        given[word].append(words.pop(0)) if word in given else parts.append(word)
    chosen = GATE if parts == ["gate"] else parts or [name for name in PARTS if name != "cuts"]
    unknown = [name for name in [*chosen, *given["--without"]] if name not in PARTS]
    if unknown:
        print(f"no such part: {' '.join(unknown)}; there are {' '.join(PARTS)}")
        return 2
    report = Report()
    absent = machine.missing()
    if absent:
        report.check("board", "the programs it needs", False, "apt-get install " + " ".join(absent))
        return report.end(results)
    image = given["--image"][-1] if given["--image"] else TOP / "target" / "board" / "pigeon.img"
    if not given["--image"]:
        words = ["--binary", given["--binary"][-1]] if given["--binary"] else []
        subprocess.run([TOP / "board" / "build", *words, image], check=True)
    if not binary().exists() and any(name.startswith("cuts") for name in chosen):
        # What a cut left is looked into by this machine's own build.
        subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "pigeon"], cwd=TOP, check=True)
    world = World(image)
    for name in chosen:
        if name in given["--without"]:
            print(f"- {name}: left out as asked")
            continue
        print(f"- {name}: {PARTS[name].__doc__.splitlines()[0]}", flush=True)
        report.guarded(f"board, {name}", PARTS[name], report, world)
    return report.end(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
