"""The image built a second time from the same binary: the same octets."""

import subprocess

from board.card import call


def built_twice(report, world):
    """A second run of board/build, nothing of the first one's work kept, gives the same octets."""
    binary = world.top / "target" / "board" / "root" / "bin" / "pigeon"
    copy, again = world.folder / "pigeon", world.folder / "again.img"
    call("cp", binary, copy)
    for part in (world.top / "target" / "board").glob("part.*"):
        part.unlink()
    subprocess.run([world.top / "board" / "build", "--binary", copy, again], check=True, stdout=subprocess.DEVNULL)
    for suffix in (".system", ".img"):
        same = call("cmp", world.image.with_suffix(suffix), again.with_suffix(suffix), check=False)
        report.check("built twice", f"the same {suffix[1:]}", same.returncode == 0, (same.stdout + same.stderr).decode())
    again.unlink()
