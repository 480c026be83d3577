"""README's own command lines: extracted from the page, and followed as a newcomer would.

python -m harness.readme up|test       prints that command line
python -m harness.readme RESULTS.json  runs the first one here, sends the first mail it tells to send, reads it back
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.report import Report

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "pigeon-data"
UP_S_MAX = 180  # a build may come first
STOP_S_MAX = 5


def commands():
    """The command lines of README's shell blocks, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def section(text, heading):
    """The indented lines below a heading of what `up` prints."""
    after = text.partition(f"\n{heading}\n")[2]
    lines = []
    for line in after.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line.strip())
    return "\n".join(lines).strip()


class Up:
    """README's first command, running; ended by its own process group."""

    def __init__(self, output):
        self.output = output
        with open(output, "wb") as file:
            self.child = subprocess.Popen(
                ["bash", "-c", commands()[0]],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + UP_S_MAX
        while not section(self.text(), "Read it"):
            if self.child.poll() is not None or time.monotonic() > end:
                self.end()
                raise RuntimeError(f"{commands()[0]} printed no settings:\n{self.text()[-2000:]}")
            time.sleep(0.05)

    def text(self):
        """What it has printed."""
        return Path(self.output).read_text(encoding="utf-8", errors="replace")

    def end(self):
        """Ctrl-C, as README says; returns the seconds it took."""
        started = time.monotonic()
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGINT)
            try:
                self.child.wait(STOP_S_MAX + 5)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
        return time.monotonic() - started


def shell(report, label, what, command):
    """One command as printed; it must succeed. Returns what it wrote."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tempfile.gettempdir(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    report.check(label, what, done.returncode == 0, f"{command}\n{done.stderr.decode('utf-8', 'replace')[-500:]}")
    return done.stdout


def follow(report):
    """First run: password, first mail, read it. Second run: the data stays, the password is not shown again."""
    label = "README"
    report.check(label, "two command lines", len(commands()) == 2 and commands()[1] == "tests/run", str(commands()))
    if DATA.exists():
        report.leave_out(label, "./pigeon-data is there already, and it is somebody's mail")
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            up = Up(Path(folder) / "first")
            try:
                send, read = section(up.text(), "Send a first mail"), section(up.text(), "Read it")
                shell(report, label, "the first mail is sent", send)
                text = shell(report, label, "and read", read)
                report.check(
                    label,
                    "it is that mail",
                    b"Subject: First mail\r\n" in text and b"It works." in text,
                    repr(text[-300:]),
                )
                report.messages(label, 1)
                password = re.search(r"password +(\S+)", up.text())[1]
            finally:
                took = up.end()
            report.check(
                label,
                "Ctrl-C ends it",
                took < STOP_S_MAX and up.child.returncode in (0, 130, -2),
                f"{took:.1f} s, {up.child.returncode}",
            )
            up = Up(Path(folder) / "second")
            try:
                report.check(label, "the second time the password is not shown", password not in up.text())
                again = section(up.text(), "Read it").replace("me@localhost ", f"me@localhost:{password} ")
                report.check(
                    label, "the mail is still there", b"It works." in shell(report, label, "read again", again)
                )
            finally:
                up.end()
        finally:
            shutil.rmtree(DATA, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1] in ("up", "test"):
        print(commands()[0 if sys.argv[1] == "up" else 1])
        sys.exit(0)
    result = Report()
    result.guarded("README", follow, result)
    sys.exit(result.end(Path(sys.argv[1])))
