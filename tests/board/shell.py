"""ssh: closed without a key in the first-boot file; with one, open to that key and to nothing else."""

import socket
import subprocess
import time

from board.card import call
from board.machine import Ended, Machine


def key(folder, name):
    """A new key; its public half lies beside it."""
    path = folder / name
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path)
    return path


def _answers(machine):
    """Whether somebody says at the machine's port 22 what an ssh server says first (RFC 4253, section 4.2)."""
    try:
        with socket.create_connection(("127.0.0.1", machine.ports["ssh"]), 5) as line:
            line.settimeout(20)
            return line.recv(100).startswith(b"SSH-2.0-")
    except OSError:
        return False


def until_it_answers(machine, seconds):
    """Waits for ssh, which comes after the greeting."""
    deadline = time.monotonic() + seconds
    while not _answers(machine):
        if time.monotonic() > deadline:
            raise Ended(f"no ssh within {seconds} s:\n{machine.tail()}")
        time.sleep(1)


def run(machine, key, command, *options):
    """One command over ssh, with this key alone; (exit code, stdout, stderr)."""
    words = ["ssh", "-F", "none", "-i", key, "-p", str(machine.ports["ssh"]), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes"]
    words += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=60", *options]
    done = subprocess.run([*map(str, words), "root@127.0.0.1", command], capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout, done.stderr


def only_with_a_key(report, world):
    """No ssh without a key; with one, a shell for that key alone."""
    label = "ssh"
    with Machine(world.ready_card("ssh-none.img"), world.folder / "ssh-none", start=world.direct) as machine:
        machine.greeting(world.patience)
        machine.wait(r"memory: ", world.patience)
        report.check(label, "nobody answers where no key was given", not _answers(machine))
    given, other = key(world.folder, "ssh-key-given"), key(world.folder, "ssh-key-other")
    public = given.with_suffix(".pub").read_text().strip()
    card = world.fresh_card("ssh.img", world.first_boot_file + f'ssh_key = "{public}"\n')
    with Machine(card, world.folder / "ssh", start=world.direct) as machine:
        machine.greeting(world.patience)
        until_it_answers(machine, world.patience)
        report.check(label, "and nothing is said to be damaged", not machine.said("cannot be read or is damaged"), machine.tail())
        code, out, error = run(machine, given, "pigeon --version && id -u")
        report.check(label, "the given key gets a shell", code == 0 and out.startswith("pigeon ") and out.endswith("\n0\n"), f"{code}: {out}{error}")
        code, out, error = run(machine, other, "id -u")
        report.check(label, "another key does not", code == 255 and not out and "Permission denied (publickey)" in error, f"{code}: {out}{error}")
        code, out, error = run(machine, given, "id -u", "-o", "PubkeyAuthentication=no")
        report.check(label, "and passwords are not asked for", code == 255 and not out and "Permission denied (publickey)" in error, f"{code}: {out}{error}")
        run(machine, given, "reboot")
        machine.wait(r"pigeon: stopped", world.patience)
