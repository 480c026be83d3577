"""What the kernel says about a process: memory, its group's kernel memory, system calls."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path


def status(pid):
    """/proc/PID/status: the figures in KiB and counts, by name."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)(?: kB)?$", text, re.MULTILINE)}


def rollup(pid):
    """/proc/PID/smaps_rollup in KiB: Rss, Pss, Pss_Anon, Anonymous ..."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    return kibs(text)


def kibs(text):
    """The lines of such a file that are KiB, by name."""
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def settled(pid, read, seconds_max=20):
    """Reads a figure until it stands still for three readings half a second apart; returns the last."""
    last, same = read(pid), 0
    for _ in range(int(seconds_max / 0.5)):
        time.sleep(0.5)
        now = read(pid)
        same = same + 1 if abs(now - last) <= 8 else 0
        last = now
        if same >= 3:
            break
    return last


def reset_peak(pid):
    """Makes VmHWM start again from what is resident now (proc(5), clear_refs 5); False where the kernel refuses."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
        return True
    except OSError:
        return False


class Group:
    """A control group of its own (as root), so that the kernel counts its memory for one server alone."""

    def __init__(self):
        self.places = []
        name = f"pigeon-test-{os.getpid()}"
        for base in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
            if not (Path(base) / "cgroup.procs").exists():
                continue
            place = Path(base) / name
            try:
                place.mkdir()
                if (place / "memory.kmem.usage_in_bytes").exists() or "kernel " in (place / "memory.stat").read_text():
                    self.places.append(place)
                    return
                place.rmdir()
            except OSError:
                continue

    def kernel_kib(self):
        """Kernel memory charged to it in KiB, file-system caches left out; None without a group."""
        if not self.places:
            return None
        place = self.places[0]
        stat = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
        if (place / "memory.kmem.usage_in_bytes").exists():
            used = int((place / "memory.kmem.usage_in_bytes").read_text())
            return (used - int(stat.get("slab_reclaimable", 0))) / 1024
        return (int(stat["kernel"]) - int(stat.get("slab_reclaimable", 0)) + int(stat.get("sock", 0))) / 1024

    def remove(self):
        """After its server has ended."""
        for place in self.places:
            for _ in range(50):
                try:
                    place.rmdir()
                    break
                except OSError:
                    time.sleep(0.1)


def system_calls(pid, seconds):
    """System calls of a process and its threads in so many seconds: (count, table), or (None, why strace cannot "
    "tell)."""
    if not shutil.which("strace"):
        return None, "strace is not installed"
    with tempfile.NamedTemporaryFile("r") as output:
        child = subprocess.Popen(
            ["strace", "-f", "-c", "-q", "-o", output.name, "-p", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        time.sleep(seconds)
        if child.poll() is not None:
            return None, child.stderr.read().decode()[-300:]
        child.send_signal(signal.SIGINT)
        child.wait(20)
        text = output.read()
    total = re.search(r"^\s*100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total", text, re.MULTILINE)
    return (int(total[1]) if total else 0), text
