"""What is measured stands on: a file system of its own, so that its journal counts, and a control group of its own, so that every
process of a server counts, ended ones too."""

import os
import subprocess
import time
from pathlib import Path

from harness import procfs


class Volume:
    """A new ext4 in a loop device (data=ordered, direct I/O), mounted at `path`."""

    def __init__(self, path, megabytes=3000):
        self.path, self.image = Path(path), Path(f"{path}.img")
        self.path.mkdir(parents=True)
        with self.image.open("wb") as image:
            image.truncate(megabytes << 20)
        quiet = {"check": True, "capture_output": True, "text": True}
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-i", "12288", "-E", lazy, self.image], **quiet)
        loop = ["losetup", "--direct-io=on", "--show", "-f", self.image]
        self.device = subprocess.run(loop, **quiet).stdout.strip()
        subprocess.run(["mount", self.device, self.path], **quiet)
        self.path.chmod(0o755)

    def written(self):
        """(octets, flushes) that reached the device, all that is pending included."""
        subprocess.run(["sync", "-f", self.path], check=True)
        fields = Path(f"/sys/block/{Path(self.device).name}/stat").read_text(encoding="ascii").split()
        return int(fields[6]) * 512, int(fields[15])

    def used(self):
        """Octets in use below it."""
        return int(subprocess.run(["du", "-s", "-B1", self.path], check=True, capture_output=True).stdout.split()[0])

    def close(self):
        """Unmounts it and removes the image."""
        for _ in range(50):
            if subprocess.run(["umount", self.path], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.1)
        subprocess.run(["losetup", "-d", self.device], check=False)
        self.image.unlink()


class Group(procfs.Group):
    """A control group for all of a server's processes; CPU and memory are the kernel's own figures."""

    def __init__(self, name):
        roots = [Path("/sys/fs/cgroup", part) for part in ("memory", "cpuacct")]
        if not all((root / "cgroup.procs").exists() for root in roots):
            roots = [Path("/sys/fs/cgroup")]
        self.places = [root / f"pigeon-bench-{os.getpid()}-{name}" for root in roots]
        for place in self.places:
            place.mkdir()

    def enter(self):
        """Puts this process into it; for a child before it runs a server."""
        for place in self.places:
            (place / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def pids(self):
        """Processes in it."""
        return [int(pid) for pid in (self.places[0] / "cgroup.procs").read_text(encoding="ascii").split()]

    def cpu_ms(self):
        """CPU time of all processes that ever were in it."""
        usage = self.places[-1] / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text(encoding="ascii")) / 1e6
        stat = dict(line.split() for line in (self.places[0] / "cpu.stat").read_text(encoding="ascii").splitlines())
        return int(stat["usage_usec"]) / 1e3

    def memory_kib(self):
        """Memory of its processes (what they share counted once), and what is theirs alone and no file backs."""
        rows = []
        for pid in self.pids():
            try:
                rows.append(procfs.rollup(pid))
            except OSError:  # it has just ended
                continue
        return sum(row["Pss"] for row in rows), sum(row["Pss_Anon"] for row in rows)
