"""Runs a program on a terminal of its own, for those that draw screens."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time


def run(words, folder, seconds_max):
    """Runs until it ends; returns what it drew. One that does not end is killed and that is an error."""
    pid, screen = pty.fork()
    if pid == 0:
        try:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(
                HOME=str(folder), TERM="xterm", LANG="C.UTF-8", LC_ALL="C.UTF-8", PATH="/usr/local/bin:/usr/bin:/bin"
            )
            os.execvp(str(words[0]), [str(word) for word in words])
        finally:
            os._exit(127)
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    drawn, end = b"", time.monotonic() + seconds_max
    try:
        while time.monotonic() < end:
            ready, _, _ = select.select([screen], [], [], 0.5)
            if ready:
                try:
                    data = os.read(screen, 65536)
                except OSError:
                    break
                if not data:
                    break
                drawn += data
        else:
            os.kill(pid, signal.SIGKILL)
            raise RuntimeError(f"{words[0]} did not end within {seconds_max} s; it last drew {drawn[-800:]!r}")
    finally:
        os.close(screen)
        _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{words[0]} ended with {os.waitstatus_to_exitcode(status)}; it last drew {drawn[-800:]!r}")
    return drawn
