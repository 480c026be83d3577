"""The steps of tests/run: each with its own time limit and log, its result counted, the closing table at the end."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

from harness import report

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target" / "tests"
CI = os.environ.get("CI") == "true"
PACKAGES = {  # Debian package: the program by which one sees that it is there
    "swaks": "swaks",
    "msmtp": "msmtp",
    "curl": "curl",
    "isync": "mbsync",
    "offlineimap3": "offlineimap",
    "fetchmail": "fetchmail",
    "getmail6": "getmail",
    "mpop": "mpop",
    "neomutt": "neomutt",
    "strace": "strace",
    "git": "git",
    "restic": "restic",
    "e2fsprogs": "mkfs.ext4",
}
EXTRA_PACKAGES = ["libnet-ssleay-perl", "ca-certificates"]  # swaks' TLS; the roots curl and pip know
PYTHON_PACKAGES = ROOT / "tests" / "requirements.txt"


class Failed(Exception):
    """A step that did not end well; the text says what to look at."""


class Run:
    """One run of tests/run."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.left_out = []
        self.rows = {}
        self.figures = []
        self.failures = []
        self.times = []
        self.python = sys.executable
        self.lock = threading.Lock()

    def lane(self, names):
        """Runs steps one after another, beside another lane; what each found is taken over when it has ended."""
        for name in names:
            step = Run()
            step.python = self.python
            print(f"== {name}: {STEPS[name].__doc__}", flush=True)
            begun, word = time.monotonic(), "ok"
            try:
                STEPS[name](step)
            except Failed as error:
                word = "FAILED"
                step.failed += 1
                step.failures.append(f"{name}: {str(error).splitlines()[0]}")
                print(f"{error}", flush=True)
            except Exception as error:  # a mistake in the step itself fails it, and the steps after it still run
                word = "FAILED"
                step.failed += 1
                step.failures.append(f"{name}: {type(error).__name__}: {error}")
                traceback.print_exc(file=sys.stdout)
            step.times.append((name, time.monotonic() - begun, word))
            print(f"== {name}: {word}, {step.times[-1][1]:.1f} s", flush=True)
            with self.lock:
                self._take(step)

    def _take(self, step):
        self.passed += step.passed
        self.failed += step.failed
        self.left_out += step.left_out
        self.rows |= step.rows
        self.figures += step.figures
        self.failures += step.failures
        self.times += step.times
        self.python = step.python

    def command(self, name, words, seconds_max, environment=None):
        """Runs one command in a session of its own under a time limit; its output goes to a log. Returns the output."""
        WORK.mkdir(parents=True, exist_ok=True)
        log = WORK / f"{name}.log"
        with open(log, "ab") as file:
            file.write(f"+ {' '.join(map(str, words))}\n".encode())
            file.flush()
            start = file.tell()
            child = subprocess.Popen(
                [str(word) for word in words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | (environment or {}),
                start_new_session=True,
            )
            code = self._wait(child, log, start, seconds_max, name)
        output = log.read_bytes()[start:].decode("utf-8", "replace")
        if code != 0:
            raise Failed(f"{' '.join(map(str, words))}: {code} (log {log.relative_to(ROOT)})\n{output[-4000:]}")
        return output

    def _wait(self, child, log, start, seconds_max, name):
        """Waits for a child, showing what Python steps say as it comes; ends its whole session when it is late."""
        shown, end = start, time.monotonic() + seconds_max
        live = name in ("clients", "kill", "disks", "budgets", "readme", "fuzz", "packages", "board", "board-long", "disks-long", "cuts", "fuzz-long")
        while True:
            code = child.poll()
            if live:
                text = log.read_bytes()[shown:]
                cut = text.rfind(b"\n") + 1
                sys.stdout.write("".join(f"   {line}\n" for line in text[:cut].decode("utf-8", "replace").splitlines()))
                sys.stdout.flush()
                shown += cut
            if code is not None:
                return code
            if time.monotonic() > end:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                return f"not done within {seconds_max} s"
            time.sleep(0.1)

    def missing(self, what):
        """A program that is not there: named, and with CI=true a failure."""
        if CI:
            raise Failed(f"missing: {what}")
        self.left_out.append(what)


# ---------------------------------------------------------------- the steps


def programs(run):
    """installs the mail programs and Python packages the tests use (as root)"""
    extra = [package for package in EXTRA_PACKAGES if not any(Path("/var/lib/dpkg/info").glob(f"{package}*.list"))]
    _install(run, "programs", PACKAGES, extra)
    _python_packages(run)
    run.passed += 1


def _install(run, name, packages, extra=()):
    """Debian packages whose programs are not there, as root; what is missing then is named."""
    absent = [package for package, program in packages.items() if shutil.which(program) is None]
    if (absent or extra) and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        words = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *absent, *extra]
        run.command(name, ["apt-get", "update", "-qq"], 180, quiet)
        run.command(name, words, 300, quiet)
        absent = [package for package in absent if shutil.which(packages[package]) is None]
    if absent:
        run.missing("programs not installed: " + ", ".join(absent))


def _python_packages(run):
    """A virtual environment under target/ with the PyPI packages."""
    venv = WORK / "venv"
    python = venv / "bin" / "python"
    if _has_packages(python):
        run.python = python
        return
    for attempt in (1, 2):
        try:
            shutil.rmtree(venv, ignore_errors=True)
            run.command("programs", [sys.executable, "-m", "venv", venv], 120)
            run.command("programs", [python, "-m", "pip", "install", "-q", "-r", PYTHON_PACKAGES], 180)
            run.python = python
            return
        except Failed as error:
            if attempt == 1 and os.geteuid() == 0 and shutil.which("apt-get"):  # Debian's Python comes without venv
                quiet = {"DEBIAN_FRONTEND": "noninteractive"}
                run.command("programs", ["apt-get", "update", "-qq"], 180, quiet)
                run.command(
                    "programs",
                    ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"],
                    180,
                    quiet,
                )
                continue
            run.missing(f"Python packages of {PYTHON_PACKAGES.relative_to(ROOT)}: {str(error).splitlines()[0]}")
            return


def _has_packages(python):
    return (
        python.exists()
        and subprocess.run([python, "-c", "import imapclient, zeroconf"], capture_output=True, check=False).returncode == 0
    )


def formatted(run):
    """cargo fmt --check"""
    run.command("format", ["cargo", "fmt", "--check"], 60)
    run.passed += 1


def lints(run):
    """cargo clippy, warnings are errors"""
    run.command("clippy", ["cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings"], 600)
    run.passed += 1


def rust_tests(run):
    """every Rust test, by cargo nextest where it is present, else cargo test"""
    if shutil.which("cargo-nextest"):
        words = ["cargo", "nextest", "run", "--locked", "--no-fail-fast", "--color", "never"]
    else:
        words = ["cargo", "test", "--locked", "--no-fail-fast", "--color", "never"]
    try:
        output, failure = run.command("unit", words, 1200), None
    except Failed as error:
        output, failure = (WORK / "unit.log").read_text(errors="replace"), error
    counts = re.findall(
        r"(?:tests? run: |test result: \w+\. )(\d+) passed(?: \([^)]*\))?(?:[,;] (\d+) failed)?", output
    )
    run.passed += sum(int(passed) for passed, _ in counts)
    if failure:
        run.failed += max(0, sum(int(failed or 0) for _, failed in counts) - 1)
        raise failure
    if not counts:
        raise Failed("no test was counted in the output")


def documentation(run):
    """the examples in the documentation, and that it builds without a warning"""
    run.command(
        "doc",
        ["cargo", "doc", "--locked", "--no-deps", "--lib", "--document-private-items"],
        300,
        {"RUSTDOCFLAGS": "-D warnings -A rustdoc::private_intra_doc_links"},
    )
    run.passed += 1


def release(run):
    """cargo build --release --locked"""
    run.command("release", ["cargo", "build", "--release", "--locked"], 600)
    size = (ROOT / "target" / "release" / "pigeon").stat().st_size
    print(f"   release binary: {size / 1048576:.2f} MiB")
    run.passed += 1


def _python_step(run, name, module, seconds_max, *parts):
    """A module under tests/ run as a program of its own; it leaves its results in a JSON file."""
    results = WORK / f"{name}.json"
    results.unlink(missing_ok=True)
    failure = None
    try:
        run.command(name, [run.python, "-u", "-m", module, results, *parts], seconds_max)
    except Failed as error:
        failure = error
    if not results.exists():
        raise failure or Failed(f"{name} left no results")
    found = json.loads(results.read_text())
    run.rows |= found["rows"]
    run.figures += found["figures"]
    run.failures += found["failures"]
    run.passed += sum(row["checks"] - row["failed"] for row in found["rows"].values())
    failed = sum(row["failed"] for row in found["rows"].values())
    for what in found["left_out"]:
        run.missing(what)
    if failed:
        run.failed += failed - 1  # the step itself counts for one
        raise Failed(f"{failed} checks failed")
    if failure:
        raise failure


def clients(run):
    """real mail programs deliver and read, octet for octet; two-way sync; two at once; a 100 MB message"""
    _python_step(run, "clients", "clients", 600)


def kill(run):
    """kill -9 in the middle of mail coming and going, fifty rounds"""
    _python_step(run, "kill", "clients.kill", 300)


def disks(run):
    """real small disks that fill up; a backup taken away by restic and restored"""
    _python_step(run, "disks", "disks", 300)


def budgets(run):
    """memory, idle cost, start and latency of the release binary against DESIGN's budgets"""
    _python_step(run, "budgets", "budgets", 420)


def fuzz(run):
    """each fuzz target for a short while"""
    target = ROOT / "tests" / "fuzz" / "run"
    if not target.exists():
        run.missing("no fuzz targets")
        return
    run.command("fuzz", [target], 600)
    run.passed += 1


def cross(run):
    """the binary for 64-bit boards, built and run under qemu-user: mail, pages of 16 KiB, kill -9, a panic, the store's crash tests"""
    _install(run, "cross", {"qemu-user-static": "qemu-aarch64-static"})
    _python_step(run, "cross", "cross", 1800, "aarch64")


BOARD_PACKAGES = {
    "qemu-system-arm": "qemu-system-aarch64",
    "mtools": "mcopy",
    "dosfstools": "mkfs.vfat",
    "fdisk": "sfdisk",
    "xz-utils": "xz",
    "minisign": "minisign",
    "openssh-client": "ssh",
    "exfatprogs": "mkfs.exfat",
    "dnsmasq-base": "dnsmasq",
    "iproute2": "ip",
}


def board(run):
    """the image for boards, built and started in an emulated one: first mail, a short power-cut run"""
    _install(run, "board", BOARD_PACKAGES, _board_firmware())
    _python_step(run, "board", "board", 1500, "gate")


def board_long(run):
    """the emulated board through everything: a Pi 3, faults, Wi-Fi, ssh, backup stick, update and fall-back, many power cuts"""
    _install(run, "board-long", BOARD_PACKAGES, _board_firmware())
    _python_step(run, "board-long", "board", 3 * 3600)


def _board_firmware():
    """The package of U-Boot for the emulated board, where it is not there."""
    return [] if Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin").exists() else ["u-boot-qemu"]


def cross_long(run):
    """every board's binary through the same, and the store's tests at every operation; two builds, the same bytes"""
    _install(run, "cross-long", {"qemu-user-static": "qemu-aarch64-static"})
    failures = []
    whole = ("store-whole", "panic-release", "twice")
    for words in (["armv7"], ["armv6"], ["armv6", *whole], ["x86-64"], ["aarch64", *whole]):
        try:
            _python_step(run, "cross-long", "cross", 3600, *words)
        except Failed as error:
            failures.append(f"{words[0]}: {error}")
    if failures:
        raise Failed("; ".join(failures))


PACKAGES_PACKAGES = {"debootstrap": "debootstrap", "systemd-container": "systemd-nspawn", "qemu-user-static": "qemu-aarch64-static"}


def packages(run):
    """the Debian packages: installed, upgraded, removed and purged in a root by debootstrap; served from by a real systemd"""
    _install(run, "packages", PACKAGES_PACKAGES)
    _python_step(run, "packages", "packages", 1800, "x86-64", "aarch64")


def packages_long(run):
    """the package for 32-bit boards: installed, served from, upgraded, removed and purged under qemu-user"""
    _install(run, "packages-long", PACKAGES_PACKAGES)
    _python_step(run, "packages-long", "packages", 900, "armv6")


def cuts(run):
    """a million simulated power cuts"""
    words = ["cargo", "test", "--locked", "--profile", "long", "--test", "power_cuts", "a_power_cut_at", "--", "--nocapture"]
    environment = {"PIGEON_CUTS": os.environ.get("PIGEON_CUTS", "1000000"), "RUST_BACKTRACE": "0"}
    run.command("cuts", words, 6 * 3600, environment)
    run.passed += 1


def disks_long(run):
    """a backup of a large store, and one more after one new mail"""
    _python_step(run, "disks-long", "disks", 1800, "backup of 1 GiB")


def fuzz_long(run):
    """each fuzz target for an hour"""
    run.command("fuzz-long", [ROOT / "tests" / "fuzz" / "run", "3600"], 8 * 3600)
    run.passed += 1


def readme(run):
    """the README's own first command line, followed as a newcomer would"""
    _python_step(run, "readme", "harness.readme", 240)


STEPS = {
    "programs": programs,
    "format": formatted,
    "clippy": lints,
    "unit": rust_tests,
    "doc": documentation,
    "release": release,
    "clients": clients,
    "kill": kill,
    "disks": disks,
    "budgets": budgets,
    "fuzz": fuzz,
    "readme": readme,
}

# What `--gate` adds, as .ci/run does.
GATE_STEPS = {"cross": cross, "packages": packages, "board": board}

# What `--long` adds.
LONG_STEPS = {
    "disks-long": disks_long,
    "cross-long": cross_long,
    "packages-long": packages_long,
    "board-long": board_long,
    "cuts": cuts,
    "fuzz-long": fuzz_long,
}

# What runs after what, and beside what: compilers use one core at a time for long. Memory and time are measured alone.
LANES = [[["programs"]], [["format", "clippy", "unit", "doc"], ["release", "clients", "kill", "disks", "readme"]], [["fuzz"]], [["budgets"]], [["cross"]], [["packages"]], [["board"]], [["disks-long"]], [["cross-long"]], [["packages-long"]], [["board-long"]], [["cuts"]], [["fuzz-long"]]]


def main(names):
    """Runs the named steps, or all, in order; returns the exit code."""
    if names == ["--list"]:
        for name, step in STEPS.items():
            print(f"{name:<10}{step.__doc__}")
        for name, step in GATE_STEPS.items():
            print(f"{name:<10}{step.__doc__} (with --gate, or by name)")
        for name, step in LONG_STEPS.items():
            print(f"{name:<10}{step.__doc__} (with --long, or by name)")
        return 0
    added = [steps for option, steps in (("--gate", GATE_STEPS), ("--long", LONG_STEPS)) if option in names]
    names = [name for name in names if name not in ("--gate", "--long")]
    chosen = names or [name for steps in (STEPS, *added) for name in steps]
    STEPS.update(GATE_STEPS | LONG_STEPS)
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        print(f"no such step: {' '.join(unknown)}; tests/run --list")
        return 2
    WORK.mkdir(parents=True, exist_ok=True)
    alone = open(WORK / "lock", "w", encoding="utf-8")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another tests/run works in this checkout, with the same logs; wait for it, or take another clone")
        return 75
    run = Run()
    started = time.monotonic()
    if "programs" not in chosen and (WORK / "venv" / "bin" / "python").exists():
        run.python = WORK / "venv" / "bin" / "python"
    for old in WORK.glob("*.log"):
        old.unlink()
    for lanes in LANES:
        threads = [threading.Thread(target=run.lane, args=([name for name in lane if name in chosen],)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    _closing(run, time.monotonic() - started)
    return 1 if run.failed else 0


def _closing(run, seconds):
    """Times, figures, what was left out, what failed, the table of clients, and the count alone on the last line."""
    print("\nstep        seconds")
    for name, took, word in run.times:
        print(f"{name:<10}{took:>9.1f}  {word}")
    print(f"{'all':<10}{seconds:>9.1f}\n")
    if run.figures:
        print(report.figures(run.figures) + "\n")
    for what in run.left_out:
        print(f"left out: {what}")
    for what in run.failures:
        print(what)
    if run.rows:
        print(report.table(run.rows))
    print(f"\n{run.passed} passed, {run.failed} failed", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
