"""python -m disks RESULTS.json [part ...]"""

import sys
from pathlib import Path

from disks import full, offsite
from harness.report import Report

PARTS = {
    "full disk, tmpfs": lambda report: full.fills_up(report, "tmpfs"),
    "full disk, ext4": lambda report: full.fills_up(report, "ext4"),
    offsite.LABEL: offsite.away_and_back,
}


def main(results, names):
    """Runs the named parts, or all."""
    report = Report()
    for name, part in PARTS.items():
        if not names or name in names:
            report.guarded(name, part, report)
    return report.end(results)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
