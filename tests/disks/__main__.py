"""python -m disks RESULTS.json [part ...]"""

import sys
from pathlib import Path

from disks import full, large, offsite
from harness.report import Report

PARTS = {
    "full disk, tmpfs": lambda report: full.fills_up(report, "tmpfs"),
    "full disk, ext4": lambda report: full.fills_up(report, "ext4"),
    offsite.LABEL: offsite.away_and_back,
}


# Only by name.
LONG_PARTS = {large.LABEL: large.grows_little}


def main(results, names):
    """Runs the named parts, or all that are short."""
    report = Report()
    for name, part in (PARTS | LONG_PARTS).items():
        if name in names or (not names and name in PARTS):
            report.guarded(name, part, report)
    return report.end(results)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
