"""The image built a second time from the same binary: the same octets."""

import os
import subprocess

from board.card import call


def built_twice(report, world):
    """A second run of board/build, nothing of the first one's work kept, gives the same octets."""
    root = world.top / "target" / "board" / "root"
    copy, again = world.folder / "pigeon", world.folder / "again.img"
    call("cp", root / "bin" / "pigeon", copy)
    date = os.environ | {"SOURCE_DATE_EPOCH": str(int((root / "init").lstat().st_mtime))}  # a commit may have come between
    for part in (world.top / "target" / "board").glob("part.*"):
        part.unlink()
    subprocess.run([world.top / "board" / "build", "--binary", copy, again], check=True, env=date, stdout=subprocess.DEVNULL)
    for suffix in (".system", ".img"):
        same = call("cmp", world.image.with_suffix(suffix), again.with_suffix(suffix), check=False)
        report.check("built twice", f"the same {suffix[1:]}", same.returncode == 0, (same.stdout + same.stderr).decode())
    again.unlink()
