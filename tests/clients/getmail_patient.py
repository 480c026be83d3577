"""getmail itself, with one mend. getmail 6 waits for the child that files a message on a condition; where the child is the
faster of the two, its SIGCHLD has notified nobody, and getmail then waits for three minutes. Here it waits for the child."""

import os
import runpy
import shutil
import signal
import sys

from getmailcore import baseclasses


def prepare(_self):
    """No handler: the child stays to be waited for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def wait(_self, child):
    """The child's exit code; negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


baseclasses.ForkingBase._prepare_child = prepare
baseclasses.ForkingBase._wait_for_child = wait
sys.argv[0] = shutil.which("getmail")
runpy.run_path(sys.argv[0], run_name="__main__")
