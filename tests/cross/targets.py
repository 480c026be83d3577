"""The targets: what rustc calls them, which emulator and processor runs them, and what a file must look like."""

import json
import os
import struct
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / "target"


class Target:
    """One kind of board."""

    def __init__(self, name, triple, machine, runner, foreign=None):
        self.name = name
        self.triple = triple
        self.machine = machine  # e_machine of the ELF header
        self.runner = runner  # the words before the program's own
        self.foreign = foreign  # another target's binary that this processor must refuse

    @property
    def release(self):
        """Where cross/build leaves its binary."""
        return BUILT / self.triple / "release" / "pigeon"

    def wrapped(self, program, *more):
        """A script that runs a program of this target, so that whoever starts it need not know how."""
        name = "-".join([program.name, *(word.strip("-") for word in more)])
        script = BUILT / "cross" / "run" / self.name / name
        script.parent.mkdir(parents=True, exist_ok=True)
        words = " ".join([*self.runner[:1], *more, *self.runner[1:], f'"{program}"'])
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="ascii")
        script.chmod(0o755)
        return script


TARGETS = {
    target.name: target
    for target in (
        Target("aarch64", "aarch64-unknown-linux-musl", 183, ["qemu-aarch64-static", "-cpu", "cortex-a53"]),
        Target("armv7", "armv7-unknown-linux-musleabihf", 40, ["qemu-arm-static", "-cpu", "cortex-a7"]),
        Target("armv6", "arm-unknown-linux-musleabihf", 40, ["qemu-arm-static", "-cpu", "arm1176"], foreign="armv7"),
        Target("x86-64", "x86_64-unknown-linux-musl", 62, ["env"]),
    )
}


def cargo(target, words, seconds_max, environment=None):
    """cross/cargo with these words; returns the programs it made, by name. Raises RuntimeError with its last words."""
    done = subprocess.run(
        ["cross/cargo", target.name, *words, "--message-format=json-render-diagnostics"],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        capture_output=True,
        timeout=seconds_max,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"cross/cargo {target.name} {' '.join(words)}:\n{done.stderr.decode(errors='replace')[-3000:]}")
    made = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            made[message["target"]["name"]] = Path(message["executable"])
    return made


class Elf:
    """The few facts about a program file that the kernel goes by (elf(5))."""

    INTERPRETER, LOAD = 3, 1

    def __init__(self, path):
        octets = path.read_bytes()
        if octets[:4] != b"\x7fELF":
            raise ValueError(f"{path} is no ELF file")
        wide = octets[4] == 2
        self.octets = octets
        self.machine = struct.unpack_from("<H", octets, 18)[0]
        table, sections = struct.unpack_from("<QQ" if wide else "<II", octets, 32 if wide else 28)
        size, count = struct.unpack_from("<HH", octets, 54 if wide else 42)
        form = "<IIQQQQQQ" if wide else "<IIIIIIII"
        self.alignments, self.is_static = [], True
        for number in range(count):
            fields = struct.unpack_from(form, octets, table + number * size)
            if fields[0] == self.LOAD:
                self.alignments.append(fields[-1])
            if fields[0] == self.INTERPRETER:
                self.is_static = False
        self.has_symbols = self._section_kinds(wide, sections) & {2} != set()

    def _section_kinds(self, wide, table):
        size, count = struct.unpack_from("<HH", self.octets, 58 if wide else 46)
        return {struct.unpack_from("<II", self.octets, table + number * size)[1] for number in range(count)}
