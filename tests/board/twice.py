"""The image built a second time from the same binary: the same octets."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from board.card import call

# Octets that the build takes.
ROOM = 3 << 30


def built_twice(report, world):
    """Another clone on another file system, for somebody whose files are private: board/build gives the same octets there."""
    root = world.top / "target" / "board" / "root"
    copy, again = world.folder / "pigeon", world.folder / "again.img"
    call("cp", root / "bin" / "pigeon", copy)
    date = os.environ | {"SOURCE_DATE_EPOCH": str(int((root / "init").lstat().st_mtime))}  # a commit may have come between
    shared = Path("/dev/shm")
    has_room = shared.is_dir() and shutil.disk_usage(shared).free > ROOM
    with tempfile.TemporaryDirectory(prefix="pigeon-twice-", dir=shared if has_room else world.folder) as elsewhere:
        clone = Path(elsewhere)
        for name in ("board", "cross"):
            shutil.copytree(world.top / name, clone / name, symlinks=True)
        for name in ("Cargo.toml", "LICENSE-MIT"):
            shutil.copy2(world.top / name, clone)
        (clone / "target/board").mkdir(parents=True)
        # What apt has fetched already is compared by it, not fetched again.
        shutil.copytree(world.top / "target/board/debs", clone / "target/board/debs")
        build = [clone / "board" / "build", "--binary", copy, again]
        subprocess.run(build, check=True, env=date, stdout=subprocess.DEVNULL, umask=0o077)
    for suffix in (".system", ".img"):
        same = call("cmp", world.image.with_suffix(suffix), again.with_suffix(suffix), check=False)
        report.check("built twice", f"the same {suffix[1:]}", same.returncode == 0, (same.stdout + same.stderr).decode())
    again.unlink()
