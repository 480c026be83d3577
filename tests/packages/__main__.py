"""python -m packages RESULTS.json TARGET...: the Debian packages, each installed, upgraded, removed and purged in a root that debootstrap
made (those of other machines under qemu-user), and that of x86-64 served from by a real systemd. Wants root; the root is kept under target/tests for the next time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness.report import Report
from harness.server import ROOT, binary
from packages import booted, installed
from packages.root import make_base

TARGETS = {  # Debian's name, Rust's, the machine's number in an ELF head, what runs a program of the oldest one here
    "x86-64": ("amd64", "x86_64-unknown-linux-musl", 62, ["env"]),
    "aarch64": ("arm64", "aarch64-unknown-linux-musl", 183, ["qemu-aarch64-static", "-cpu", "cortex-a53"]),
    "armv6": ("armhf", "arm-unknown-linux-musleabihf", 40, ["qemu-arm-static", "-cpu", "arm1176"]),  # for a Pi Zero, too
}
OUT = ROOT / "target" / "tests" / "deb"


def build(target, *words):
    """A package by cross/deb; its path."""
    command = [ROOT / "cross" / "deb", target, "--out", OUT, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return Path(done.stdout.splitlines()[-1])


def packages(report, targets, made):
    """A package for each target: what is in it, and that it is the same twice. `made` takes the targets that have one."""
    for target in targets:
        architecture, triple, machine, runner = TARGETS[target]
        label = f"package {architecture}"
        file = ROOT / "target" / triple / "release" / "pigeon"
        if not file.exists() and target == "x86-64":
            file = binary()
        if not file.exists():
            report.leave_out(label, f"cross/build {target} was not run")
            continue
        package = build(target, "--binary", file)
        made.append(target)
        first = package.read_bytes()
        if target == "x86-64":
            report.check(label, "two builds have the same octets", build(target, "--binary", file).read_bytes() == first)
        fields = subprocess.run(["dpkg-deb", "-f", package], capture_output=True, text=True, check=True).stdout
        report.check(label, "it is for its architecture", f"Architecture: {architecture}\n" in fields, fields)
        listed = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout
        for name in ("usr/bin/pigeon", "usr/lib/systemd/system/pigeon.service", "usr/share/man/man5/pigeon.toml.5.gz",
                     "etc/pigeon/pigeon.toml", "usr/share/doc/pigeon/copyright", "usr/share/man/man1/pigeon-user-add.1.gz",
                     "usr/share/bash-completion/completions/pigeon", "usr/lib/systemd/system/pigeon-imaps.socket"):
            report.check(label, f"{name} is in it", f" ./{name}\n" in listed)
        rows = listed.splitlines()
        report.check(label, "all of it is root's", all(row.split()[1] == "root/root" for row in rows))
        folder = OUT / architecture
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        program = folder / "usr/bin/pigeon"
        head = program.read_bytes()[:20]
        report.check(label, "the binary is for it", int.from_bytes(head[18:20], "little") == machine)
        if shutil.which(runner[0]) is None:
            report.leave_out(f"{label}: its program run", f"{runner[0]} is not installed")
        else:
            done = subprocess.run([*runner, program, "--version"], capture_output=True, text=True, timeout=60, check=False)
            report.check(label, "and runs on the oldest", done.stdout.startswith("pigeon "), f"{done.returncode} {done.stderr}")
        print(f"   {package.name}: {package.stat().st_size / 1048576:.2f} MiB", flush=True)


def main(results, targets):
    """The packages, then what is done with them, in a network and file systems of its own."""
    report = Report()
    if os.environ.get("PIGEON_PACKAGES_INSIDE"):
        for target in targets:
            architecture, _, _, runner = TARGETS[target]
            package = next(OUT.glob(f"pigeon_*-1_{architecture}.deb"))
            label = f"package {architecture} installed"
            emulated = [] if target == "x86-64" else runner
            report.guarded(label, installed.lives_and_goes, report, label, package, architecture, emulated)
            if target == "x86-64":
                report.guarded(installed.AMONG, installed.among_others, report, package)
                report.guarded(booted.LABEL, booted.serves, report, package)
        return report.end(results)
    made = []
    report.guarded("packages", packages, report, targets, made)
    label = "debootstrap"
    if os.geteuid() != 0:
        report.leave_out(label, "only root can")
        return report.end(results)
    if shutil.which("debootstrap") is None:
        report.leave_out(label, "debootstrap is not installed")
        return report.end(results)
    report.guarded(label, make_base)
    inside = results.with_name("packages-inside.json")
    inside.unlink(missing_ok=True)
    words = ["unshare", "--net", "--mount", "--uts", "--cgroup", "--propagation", "private", sys.executable, "-u", "-m", "packages"]
    environment = os.environ | {"PIGEON_PACKAGES_INSIDE": "1"}
    done = subprocess.run([*words, inside, *made], env=environment, timeout=1500, check=False)
    if inside.exists():
        found = json.loads(inside.read_text())
        report.rows |= found["rows"]
        report.failures += found["failures"]
        report.left_out += found["left_out"]
    else:
        report.check("packages", "ran to its end", False, f"exit code {done.returncode}")
    return report.end(results)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
