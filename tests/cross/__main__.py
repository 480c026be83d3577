"""A board's binary, run here under qemu-user: made, looked at, spoken with, killed, made to panic, its store cut.

    python -m cross RESULTS.json TARGET [part ...]

The release binary is cross/build's; `panic` and `store` run programs built for the target with debug assertions. Only when they are
named: `store-whole`, more of these tests and at every operation; `panic-release`, the panic in a binary of the release's profile;
`twice`, a second build elsewhere. x86-64 runs as it is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clients import kill
from harness import compare, mails, wire
from harness.elf import Elf
from harness.report import Report
from harness.server import Server

from cross.targets import BUILT, ROOT, TARGETS, cargo

BUILD_S_MAX = 3600  # tests/run ends it sooner, with everything that was started
TESTS_S_MAX = 1200
BINARY_BYTES_MAX = 6 << 20
SEGMENT_ALIGNMENT_MIN = 16 << 10  # a kernel with 16 KiB pages (Raspberry Pi 5) maps no segment aligned to less
SENDER = "sender@example.net"
KILL_ROUNDS = 3
# The dev profile with its assertions, but quick under an emulator and without line tables, which nobody reads.
QUICK = {"CARGO_PROFILE_DEV_OPT_LEVEL": "1", "CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_PROFILE_DEV_INCREMENTAL": "false"}
SESSION_ENDED = "a session ended by a bug service=imaps"
# The store's tests: power cuts, kills and failures at every seventh operation, so that it takes a minute under an emulator; not a
# multiple of three, for each third tears pages in another way.
STORE_TEST, STORE_EVERY = "store_cuts", 7
# More of them, and each whole, with the words that choose them: minutes each.
STORE_TESTS_WHOLE = {
    "store_cuts": [],
    "power_cuts": ["a_seed_means_the_same_every_time"],
    "store_model": ["bulk_work_goes_in_steps_and_ends_where_it_should"],
}


class Board:
    """A target under test and what has been built for it."""

    def __init__(self, report, target):
        self.report = report
        self.target = target
        self.tests = {}  # programs with debug assertions, by name: the store's tests and pigeon
        self.ahead = None  # where they are being built beside the release

    def check(self, what, good, why=""):
        """One check of this target."""
        return self.report.check(self.target.name, what, good, why)

    def serving(self, program, *more):
        """From now on `Server` starts this program of the target."""
        os.environ["PIGEON"] = str(self.target.wrapped(program, *more))


def build(board):
    """The release binary."""
    done = subprocess.run(
        ["cross/build", board.target.name], cwd=ROOT, capture_output=True, text=True, timeout=BUILD_S_MAX, check=False
    )
    if not board.check("cross/build", done.returncode == 0, done.stderr[-3000:]):
        return
    last = done.stdout.splitlines()[-1]
    board.check("its last line is the path", ROOT / last == board.target.release, last)


# Programs that stand in for apt's: what each does, and what cross/build must say then.
MIRRORS = "[ $1 = indextargets ] && printf '%s\\n' 'bookworm http://mirror.test/' 'bookworm-security http://mirror.test/' && exit 0;"
REFUSALS = {
    "no mirror": ("exit 0", "exit 0", "apt knows no mirror"),
    "no mirror of the security suite": (
        "[ $1 = indextargets ] && echo 'bookworm http://mirror.test/'; exit 0", "exit 0", "Debian's suite bookworm-security",
    ),
    "compiler and std out of step": (f"{MIRRORS} exit 0", "[ $2 = rust-web-src ] && minor=96; echo '  Candidate: '1.${minor:-97}.0-1", "are out of step"),
    "no security suite": (f"{MIRRORS} exit 0", "echo '  Candidate: 1.85.0+dfsg3-1'", "Pigeon needs 1.90"),
    "no network": (f"{MIRRORS} echo 'E: no such host' >&2; exit 100", "exit 0", "Is the machine online?"),
}


def refusals(board):
    """What goes wrong on the way to a compiler is named, with what to do; nothing is left that looks complete."""
    for what, (apt_get, apt_cache, words) in REFUSALS.items():
        with tempfile.TemporaryDirectory(prefix="pigeon-refused-") as folder:
            tree, programs = Path(folder) / "tree", Path(folder) / "bin"
            shutil.copytree(ROOT / "cross", tree / "cross")
            programs.mkdir()
            for name, text in (("apt-get", apt_get), ("apt-cache", apt_cache), ("dpkg-query", "echo install ok installed")):
                (programs / name).write_text(f"#!/bin/bash\n{text}\n", encoding="ascii")
                (programs / name).chmod(0o755)
            path = {"PATH": f"{programs}:{os.environ['PATH']}"}
            done = subprocess.run(
                [tree / "cross" / "build", board.target.name], capture_output=True, text=True, env=os.environ | path, timeout=60, check=False
            )
            told = done.returncode == 1 and words in done.stderr and not done.stdout
            board.check(f"{what}: it says so", told, f"{done.returncode} {done.stdout} {done.stderr}")
            board.check(f"{what}: nothing counts as fetched", not list(tree.glob("target/cross/*/complete")))


def _tests(board, *names):
    """These tests with debug assertions, and pigeon; built when the first part needs them."""
    if board.ahead:
        ahead, board.ahead = board.ahead, None
        board.tests = ahead.result()
    if not board.tests.keys() >= {"pigeon", *names}:
        board.tests |= _build_tests(board, names or [STORE_TEST])
    return board.tests


def _build_tests(board, names):
    words = ["test", "--no-run", *(word for name in names for word in ("--test", name))]
    return cargo(board.target, words, BUILD_S_MAX, QUICK | _no_fuzzer())


def _no_fuzzer():
    """The fuzzing engine is C++ that no test here calls: an empty library stands for it."""
    library = BUILT / "cross" / "nothing" / "libnothing.a"
    library.parent.mkdir(parents=True, exist_ok=True)
    library.write_bytes(b"!<arch>\n")
    return {"CUSTOM_LIBFUZZER_PATH": str(library), "CUSTOM_LIBFUZZER_STD_CXX": "none"}


def shape(board):
    """What the file is: static, for this machine, stripped, small, at home on any page size, without our paths."""
    binary = board.target.release
    elf = Elf(binary)
    board.check("it is for this machine", elf.machine == board.target.machine, str(elf.machine))
    board.check("it is static", elf.is_static)
    board.check("it is stripped", not elf.has_symbols)
    size = binary.stat().st_size
    board.report.figure(f"{board.target.name}: release binary", size / (1 << 20), 6, "MiB", size <= BINARY_BYTES_MAX)
    if board.target.name != "x86-64":
        least = min(elf.alignments)
        board.check("its segments can be mapped by a kernel with 16 KiB pages", least >= SEGMENT_ALIGNMENT_MIN, str(least))
    for path in (f"{ROOT}/", f"{Path.home()}/", "/.cargo/"):
        board.check(f"no path of the machine it was built on: {path}", path.encode() not in elf.octets)


def dialogue(board):
    """First mail: SMTP in, submission, read by IMAPS and POP3S, octet for octet; changes seen by the next session."""
    board.serving(board.target.release)
    _first_mail(board, "")


def pages(board):
    """The same where memory comes in pages of 16 KiB, as on a Raspberry Pi 5."""
    if board.target.name != "aarch64":
        return
    probe = BUILT / "cross" / board.target.triple / "page-size"
    specs = BUILT / "cross" / board.target.triple / "musl.specs"
    source = b"#include <unistd.h>\nint main(void) { return sysconf(_SC_PAGESIZE) >> 10; }"
    words = ["aarch64-linux-gnu-gcc", f"-specs={specs}", "-static", "-x", "c", "-", "-o", probe]
    subprocess.run(words, input=source, check=True, timeout=60)
    kib = subprocess.run([board.target.wrapped(probe, "-p", "16384")], timeout=60, check=False).returncode
    board.check("a program sees pages of 16 KiB there", kib == 16, str(kib))
    board.serving(board.target.release, "-p", "16384")
    _first_mail(board, "16 KiB pages: ")


def _first_mail(board, where):
    report, name = board.report, board.target.name
    with Server() as server:
        alice, bob = server.add_user("alice"), server.add_user("bob")  # without a server: the verb opens the store
        server.start()
        server.passwords[alice] = "another-1"
        server.run("user", "password", alice, "--password-stdin", stdin=b"another-1\n")  # with one: by its socket
        letters = [mails.typical(number, size) for number, size in enumerate((600, 2_000, 70_000, 3_000_000))]
        smtp = wire.Smtp(server, starttls=True)
        for letter in letters:
            smtp.deliver([alice, bob], letter, SENDER)
            report.messages(name, 1)
        smtp.quit()
        idle = wire.Imap(server, "imaps", tls=True, user=alice)
        before = idle.select()
        idle.idle()
        submission = wire.Smtp(server, "submissions", tls=True, user=bob)
        sent = mails.typical(9, 1_500)
        submission.deliver([alice], sent, bob)
        submission.quit()
        seen = idle.line()
        board.check(f"{where}an idle client hears of new mail", seen == b"* %d EXISTS" % (before + 1), repr(seen))
        idle.done()
        for user, client in ((alice, idle), (bob, wire.Imap(server, "imaps", tls=True, user=bob))):
            client.select()
            got = [octets for _, octets in client.bodies()]
            want = [(letter, SENDER) for letter in letters] + ([(sent, bob)] if user == alice else [])
            _compare(board, f"{where}IMAPS, {user}", want, got)
        idle.command("UID STORE 1 +FLAGS.SILENT (\\Seen \\Flagged)")
        idle.command('CREATE "Kept"')
        idle.command('UID COPY 2 "Kept"')
        idle.logout()
        pop = wire.Pop3(server, "pop3s", tls=True, user=bob)
        got = [pop.many(f"RETR {number + 1}") for number in range(len(letters))]
        _compare(board, f"{where}POP3S", [(letter, SENDER) for letter in letters], got)
        pop.one("DELE 1")
        pop.quit()
        server.restart()
        again = wire.Imap(server, "imap", starttls=True, user=alice)
        again.select()
        flags = b" ".join(part for response in again.command("UID FETCH 1 (FLAGS)") for part in response)
        board.check(f"{where}flags after a restart", b"\\Seen" in flags and b"\\Flagged" in flags, repr(flags))
        board.check(f"{where}a copy after a restart", again.status("Kept") == 1)
        found = again.command('UID SEARCH BODY "no such word anywhere"')[0][0]
        board.check(f"{where}SEARCH", found == b"* SEARCH", repr(found))
        again.logout()
        pop = wire.Pop3(server, "pop3", stls=True, user=bob)
        board.check(f"{where}what POP3 deleted is gone", pop.one("STAT").split()[1] == str(len(letters) - 1))
        pop.quit()
        done = server.run("status", check=False)
        board.check(f"{where}status", done.returncode == 0, done.stderr.decode()[-300:])
        took = server.stop()
        board.check(f"{where}it ends within 5 s of SIGTERM", took < 5, f"{took:.1f} s")


def _compare(board, what, want, got):
    board.check(f"{what}: {len(want)} messages", len(want) == len(got), str(len(got)))
    for (sent, sender), stored in zip(want, got):
        try:
            difference = compare.difference(sent, compare.uncompleted(compare.without_trace(stored, sender), sent))
        except ValueError as error:
            difference = str(error)
        board.check(f"{what}: octet for octet", difference is None, difference or "")


def killed(board):
    """kill -9 while mail comes in, and a start: what was acknowledged is there."""
    board.serving(board.target.release)
    with Server() as server:
        users = [server.add_user(f"user{number}") for number in range(kill.USERS)]
        acknowledged = {}
        for number in range(KILL_ROUNDS):
            server.start()
            streams = [kill.Stream(server, users, stream, number, stream == 0) for stream in range(3)]
            for stream in streams:
                stream.start()
            time.sleep(2)
            server.kill()
            for stream in streams:
                stream.join()
                acknowledged |= stream.acknowledged
        server.start()
        board.report.messages(board.target.name, len(acknowledged))
        board.check("mail was acknowledged before each kill", len(acknowledged) >= KILL_ROUNDS, str(len(acknowledged)))
        for user in users:
            client = wire.Imap(server, user=user, timeout=180)
            client.select()
            there = [octets for _, octets in client.bodies()]
            client.logout()
            for (owner, name), octets in acknowledged.items():
                if owner == user:
                    count = sum(stored.endswith(octets) for stored in there)
                    board.check(f"kill -9: {name} is there once for {user}", count == 1, str(count))


def panic(board):
    """One session panics; those beside it and after it work: the binary unwinds."""
    _panic(board, _tests(board)["pigeon"])


def panic_release(board):
    """The same with everything as in a release (link-time optimization, stripped) but our own assertions."""
    words = ["build", "--release", "--bin", "pigeon", "--config", "profile.release.package.pigeon.debug-assertions=true"]
    made = cargo(board.target, words, BUILD_S_MAX)["pigeon"]
    program = BUILT / "cross" / board.target.triple / "pigeon-with-assertions"
    program.parent.mkdir(parents=True, exist_ok=True)
    made.rename(program)  # nobody takes it for the release
    _panic(board, program)


def _panic(board, program):
    board.serving(program)
    os.environ["PIGEON_PANIC"] = "imaps"
    try:
        with Server() as server:
            alice = server.add_user("alice")
            server.start()
            beside = wire.Smtp(server)
            doomed = wire.Imap(server, "imaps", tls=True)
            board.check("the session ends", _until_it_ends(doomed))
            board.check("the server lives", server.child.poll() is None, server.tail())
            end = time.monotonic() + 20  # the client is told while the stack is still being unwound
            while SESSION_ENDED not in server.tail() and time.monotonic() < end:
                time.sleep(0.1)
            board.check("the log says so", SESSION_ENDED in server.tail(), server.tail())
            beside.deliver([alice], mails.typical(1, 2_000), SENDER)
            after = wire.Imap(server, "imaps", tls=True, user=alice)
            board.check("the next session works", after.select() == 1)
            after.logout()
            beside.quit()
            server.stop()
    finally:
        del os.environ["PIGEON_PANIC"]


def _until_it_ends(client):
    """Whether a client loses its connection. Its session panics when it is woken, so it must have come to rest before."""
    for _ in range(20):
        time.sleep(0.3)
        try:
            client.command("NOOP")
        except OSError:  # ConnectionError, too
            return True
    return False


def store(board):
    """The store's crash tests, built for the target, at some of the operations."""
    _store_test(board, STORE_TEST, [], STORE_EVERY)


def store_whole(board):
    """The store's crash tests at every operation, and more of them."""
    for name, words in STORE_TESTS_WHOLE.items():
        _store_test(board, name, words, 1)


def _store_test(board, name, words, every):
    program = _tests(board, *STORE_TESTS_WHOLE if every == 1 else [name])[name]
    begun = time.monotonic()
    done = subprocess.run(
        [board.target.wrapped(program), *words, "--test-threads=2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TESTS_S_MAX,
        check=False,
        env=os.environ | {"RUST_BACKTRACE": "0", "PIGEON_EVERY": str(every)},
    )
    passed = done.returncode == 0 and " 0 passed" not in done.stdout
    board.check(f"tests/{name}.rs", passed, (done.stdout + done.stderr)[-3000:])
    print(f"  tests/{name}.rs: {time.monotonic() - begun:.0f} s", flush=True)


def foreign(board):
    """The control: this processor refuses a newer one's binary, so the emulator does look at instructions."""
    other = board.target.foreign and TARGETS[board.target.foreign]
    if not other:
        return
    if not other.release.exists():
        board.report.leave_out(f"{other.name}'s binary on {board.target.name}", "it is not built")
        return
    words = [*board.target.runner, other.release, "--version"]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    board.check(f"{other.name}'s binary does not run", done.returncode != 0 and b"pigeon" not in done.stdout)


def twice(board):
    """A clean build in a checkout somewhere else gives the same bytes as the one here."""
    if not board.target.release.exists():
        subprocess.run(["cross/build", board.target.name], cwd=ROOT, capture_output=True, timeout=BUILD_S_MAX, check=True)
    with tempfile.TemporaryDirectory(prefix="pigeon-elsewhere-", dir=BUILT.parent.parent) as folder:
        elsewhere = Path(folder) / "a" / "checkout-of-another-name"
        for name in subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0"):
            if name and (ROOT / name.decode()).exists():
                copy = elsewhere / name.decode()
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name.decode(), copy, follow_symlinks=False)
        # What was fetched need not be fetched again; its files are linked, everything that is made is made anew.
        (elsewhere / "target" / "cross").mkdir(parents=True)
        for fetched in ("rust", "zig"):
            if (BUILT / "cross" / fetched).exists():
                words = ["cp", "-al", BUILT / "cross" / fetched, elsewhere / "target" / "cross" / fetched]
                subprocess.run(words, check=True)
        done = subprocess.run(
            ["cross/build", board.target.name], cwd=elsewhere, capture_output=True, timeout=BUILD_S_MAX, check=False
        )
        if board.check("cross/build elsewhere", done.returncode == 0, done.stderr.decode()[-2000:]):
            here, there = board.target.release, elsewhere / board.target.release.relative_to(ROOT)
            difference = compare.difference(here.read_bytes(), there.read_bytes())
            board.check("two builds give the same bytes", difference is None, difference or "")


PARTS = {
    "refusals": refusals,
    "build": build,
    "shape": shape,
    "dialogue": dialogue,
    "pages": pages,
    "killed": killed,
    "panic": panic,
    "store": store,
    "store-whole": store_whole,
    "foreign": foreign,
    "panic-release": panic_release,
    "twice": twice,
}
ASKED_FOR = {"store-whole", "panic-release", "twice"}  # left out unless named: many minutes each


def main(words):
    """Runs the parts of one target."""
    report = Report()
    board = Board(report, TARGETS[words[1]])
    chosen = words[2:] or PARTS.keys() - ASKED_FOR
    with ThreadPoolExecutor(1) as beside:
        if "build" in chosen and not {"panic", "store"}.isdisjoint(chosen):
            # The release is linked for minutes by one core; the other has this to do.
            board.ahead = beside.submit(_build_tests, board, [STORE_TEST])
        for name, part in PARTS.items():
            if name in chosen:
                report.guarded(f"{board.target.name} {name}", part, board)
    return report.end(Path(words[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
