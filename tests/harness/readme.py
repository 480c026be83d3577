"""README's own command lines: extracted from the page, and followed as a newcomer would.

    python -m harness.readme up|test       prints that command line
    python -m harness.readme RESULTS.json  runs the first one, sends the first mail it tells to send, and reads it back
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness.report import Report

ROOT = Path(__file__).resolve().parent.parent.parent
UP_S_MAX = 180


def commands():
    """The command lines of README's shell blocks, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


if __name__ == "__main__":
    lines = commands()
    if sys.argv[1] in ("up", "test"):
        print(lines[0 if sys.argv[1] == "up" else 1])
        sys.exit(0)
