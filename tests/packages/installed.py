"""The package's life in a root without a running systemd: installed, served from, upgraded, removed, purged."""

import shutil
import socket
import subprocess

from harness import wire
from packages.root import HOST, NAME, Root

AMONG = "package among others"
CONFIGURATION = "etc/pigeon/pigeon.toml"
CAPABILITY = "+net_bind_service"


def changed(package, version, line):
    """The same package as another version, with a line more in its configuration."""
    folder = package.with_name(f"changed-{version}")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-R", package, folder], check=True)
    control = folder / "DEBIAN/control"
    old = next(row for row in control.read_text().splitlines() if row.startswith("Version: "))
    control.write_text(control.read_text().replace(old, f"Version: {version}"))
    with open(folder / CONFIGURATION, "a", encoding="utf-8") as file:
        file.write(line)
    made = package.with_name(f"changed-{version}.deb")
    words = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", folder, made]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return made


class Serving:
    """`pigeon serve` as the package's user, with what the unit grants."""

    def __init__(self, root):
        self.root = root

    def __enter__(self):
        words = ["setpriv", "--reuid=pigeon", "--regid=pigeon", "--clear-groups"]
        words += [f"--inh-caps={CAPABILITY}", f"--ambient-caps={CAPABILITY}", *self.root.program, "serve"]
        self.log = open(self.root.folder / "serve.log", "ab")
        self.child = subprocess.Popen(["chroot", self.root.path, *words], stderr=self.log)
        self.root.await_greeting()
        return self

    def __exit__(self, kind, value, trace):
        self.child.terminate()
        self.child.wait(10)
        self.log.close()


def refuse_starts(root):
    """Nothing is started by installing (policy-rc.d(8)); proc for what looks at itself."""
    policy = root.path / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    subprocess.run(["mount", "-t", "proc", "proc", root.path / "proc"], check=True)


def lives_and_goes(report, label, package, architecture, runner):
    """The test itself. What is of another architecture than this machine's runs by `runner`, the words of a static qemu."""
    check = lambda what, good, why="": report.check(label, what, good, why)  # noqa: E731
    with Root() as root:
        refuse_starts(root)
        if runner:
            root.run("dpkg", "--add-architecture", architecture)
            root.emulate(*runner)

        def install(deb, *options):
            shutil.copy(deb, root.path / "tmp/pigeon.deb")
            return root.run("dpkg", *options, "-i", "/tmp/pigeon.deb")

        told = install(package)
        check("installing tells the next step", "pigeon user add" in told, told)
        check("and of no other server", "another program" not in told, told)
        owner = root.run("stat", "-c", "%U:%G %a", "/var/lib/pigeon").strip()
        check("the data directory is the user's alone", owner == "pigeon:pigeon 700", owner)
        wanted = root.path / "etc/systemd/system"
        enabled = [wanted / "multi-user.target.wants/pigeon.service", wanted / "timers.target.wants/pigeon-verify.timer"]
        check("service and weekly look are enabled", all(link.is_symlink() for link in enabled), list(wanted.rglob("*")))
        check("no socket unit is", not list(wanted.rglob("*.socket")))

        alice = root.add_user("alice")
        check("root's verb before the first start leaves nothing that is root's", not root.strangers(), root.strangers())
        with Serving(root):
            bob = root.add_user("bob")
            root.carry(report, label, alice, 1)
            root.carry(report, label, bob, 2)
            told = root.run("pigeon", "check", good=(0, 1))
            check("check finds nothing wrong", "error" not in told, told)
            root.host = f"{HOST}.local"  # as a phone in the house calls it
            wire.Imap(root, "imaps", tls=True, user=alice).logout()
            check("the certificate is for the name in the house, too", True)
            root.host = NAME
        for words in (["user", "list"], ["verify"], ["status"], ["backup", "/var/backups/pigeon"]):
            root.run("pigeon", *words)
        carol = root.add_user("carol")
        root.run("pigeon", "salvage")
        check("root's verbs without a server leave nothing that is root's", not root.strangers(), root.strangers())
        stranger = root.run("setpriv", "--reuid=nobody", "--clear-groups", *root.program, "user", "list", good=(1,))
        check("another user is not let in", "ermission denied" in stranger, stranger)

        mine = root.path / CONFIGURATION
        install(changed(package, "0.1.0-2", "# of the second version\n"))
        check("an untouched configuration is replaced", "second version" in mine.read_text())
        with open(mine, "a", encoding="utf-8") as file:
            file.write("# of the administrator\n")
        root.run("systemctl", "disable", "pigeon.service")
        install(changed(package, "0.1.0-3", "# of the third version\n"), "--force-confdef", "--force-confold")
        text = mine.read_text()
        check("a touched one is kept", "administrator" in text and "third version" not in text, text)
        check("what was switched off stays off", not enabled[0].is_symlink())
        with Serving(root):
            root.carry(report, label, carol, 3)
            root.carry(report, label, alice, 4)

        root.run("dpkg", "-r", "pigeon")
        check("removed, the program is gone", not (root.path / "usr/bin/pigeon").exists())
        check("and configuration and mail are not", mine.exists() and (root.data / "index.redb").exists())
        root.run("dpkg", "--force-confdef", "--force-confold", "-i", "/tmp/pigeon.deb")
        with Serving(root):
            root.carry(report, label, alice, 5)
        (root.path / "etc/pigeon/cert.pem").write_text("the administrator's\n")
        told = root.run("dpkg", "-P", "pigeon")
        check("purged, the configuration is gone", not mine.exists())
        check("and what is the administrator's is not", (root.path / "etc/pigeon/cert.pem").exists())
        check("nor the mail, which is told", (root.data / "index.redb").exists() and "rm -r /var/lib/pigeon" in told, told)
        check("nor its user", "pigeon" in root.run("getent", "passwd", "pigeon", good=(0, 2)))
        left = [str(path) for path in wanted.rglob("*pigeon*")]
        check("no unit is left", not left, left)

        # Mail elsewhere, which the package does not know of: the next user must not be given its owner's number.
        stamp = root.path / "var/lib/systemd/timers/stamp-pigeon-verify.timer"
        root.run("dpkg", "-i", "/tmp/pigeon.deb")
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        root.run("mv", "/var/lib/pigeon", "/srv/mail")
        told = root.run("dpkg", "-P", "pigeon")
        check("mail elsewhere keeps its user, which is told", "deluser" in told, told)
        root.run("adduser", "--system", "--quiet", "--no-create-home", "nextone")
        owners = [root.run("stat", "-c", "%U", path).strip() for path in ("/srv/mail", "/srv/mail/index.redb")]
        check("and is nobody else's", owners == ["pigeon", "pigeon"], owners)
        check("when the timers last ran is forgotten", not stamp.exists())


def among_others(report, package):
    """Where a person is called pigeon, or another mail server is there already."""
    check = lambda what, good, why="": report.check(AMONG, what, good, why)  # noqa: E731
    for what, *words in [
        ("a person of that name with a group of it", "useradd", "--user-group", "--create-home", "pigeon"),
        ("a person of that name without one", "useradd", "--no-user-group", "--create-home", "pigeon"),
        ("a system user in another group", "useradd", "--system", "--gid", "mail", "pigeon"),
    ]:
        with Root() as root:
            refuse_starts(root)
            root.run(*words)
            shutil.copy(package, root.path / "tmp/pigeon.deb")
            told = root.run("dpkg", "-i", "/tmp/pigeon.deb", good=(0, 1))
            check(f"{what}: the server does not become it, and that is told", "another account has that name" in told, told)
            check(f"{what}: nothing is enabled", not list((root.path / "etc/systemd/system").rglob("pigeon*")), told)
    with Root() as root, socket.create_server(("127.0.0.1", 25)):
        refuse_starts(root)
        shutil.copy(package, root.path / "tmp/pigeon.deb")
        told = root.run("dpkg", "-i", "/tmp/pigeon.deb")
        check("another mail server is named at once", "another program listens on" in told and ":25" in told, told)
        check("with what that means", "nothing is served" in told, told)
