"""The targets: what rustc calls them, which emulator and processor runs them, and what a file must look like."""

import json
import os
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
        Target("armv7", "armv7-unknown-linux-musleabihf", 40, ["qemu-arm-static", "-cpu", "cortex-a8,neon=off"]),
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
