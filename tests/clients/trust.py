"""Who is trusted: programs verify the server against its local CA, and refuse it without."""

import imaplib
import smtplib
import socket
import ssl
import tempfile
from pathlib import Path

from clients.readers import missing, run, secret_file


class _Curl:
    program = "curl"


def trust(report, server):
    """The local CA verifies every TLS port and every upgrade; without it no program goes on."""
    label = "TLS trust"
    user = server.add_user("trust")
    password = server.passwords[user]
    known = ssl.create_default_context(cafile=str(server.ca))
    for port in ("imaps", "pop3s", "submissions"):
        with (
            socket.create_connection(("127.0.0.1", server.ports[port]), 10) as raw,
            known.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            report.check(label, f"{port} speaks TLS 1.3", tls.version() == "TLSv1.3", str(tls.version()))
        with socket.create_connection(("127.0.0.1", server.ports[port]), 10) as raw:
            try:
                ssl.create_default_context().wrap_socket(raw, server_hostname="localhost").close()
                report.check(
                    label, f"{port} without the CA is refused", False, "a client that does not know the CA went on"
                )
            except ssl.SSLError:
                report.check(label, f"{port} without the CA is refused", True)
    old = ssl.create_default_context(cafile=str(server.ca))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with imaplib.IMAP4_SSL("localhost", server.ports["imaps"], ssl_context=old) as client:
        report.check(label, "TLS 1.2 works", client.login(user, password)[0] == "OK")
    with imaplib.IMAP4("localhost", server.ports["imap"]) as client:
        client.starttls(known)
        report.check(label, "login after IMAP STARTTLS", client.login(user, password)[0] == "OK")
    # RFC 4954 section 4 with RFC 3207: no AUTH before TLS on the submission port, and none ever on port 25.
    with smtplib.SMTP("localhost", server.ports["submission"], timeout=20) as client:
        client.ehlo()
        report.check(label, "no AUTH offered before TLS", not client.has_extn("auth"))
        client.starttls(context=known)
        client.ehlo()
        report.check(label, "AUTH offered under TLS", client.has_extn("auth"))
        report.check(label, "login after SMTP STARTTLS", client.login(user, password)[0] == 235)
    with smtplib.SMTP("localhost", server.ports["smtp"], timeout=20) as client:
        client.starttls(context=known)
        client.ehlo()
        report.check(label, "no AUTH on port 25", not client.has_extn("auth"))
    if missing(_Curl):
        report.leave_out(label, "curl is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        secret_file(folder / "rc", f'user = "{user}:{password}"\n')
        for scheme, port in (("imaps", "imaps"), ("pop3s", "pop3s")):
            url = f"{scheme}://localhost:{server.ports[port]}/"
            run(["curl", "-sS", "-K", folder / "rc", url], folder, allowed=(60,))  # 60: peer certificate not trusted
            report.check(label, f"curl without the CA leaves {port}", True)
            run(["curl", "-sS", "-K", folder / "rc", "--cacert", server.ca, url], folder)
            report.check(label, f"curl --cacert tls/ca.pem reads {port}", True)
        run(
            [
                "curl",
                "-sS",
                "--cacert",
                server.ca,
                "-u",
                f"{user}:wrong",
                f"imaps://localhost:{server.ports['imaps']}/",
            ],
            folder,
            allowed=(67,),
        )
        report.check(label, "curl with a wrong password is denied", True)
