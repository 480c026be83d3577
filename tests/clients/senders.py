"""Programs that hand in mail. Each class sends one message, and says how its program itself changes it."""

import imaplib
import smtplib

from harness import wire

from clients.readers import run, secret_file


class Sender:
    """One way of one program to hand in mail: `plain` to 25, `starttls` to 587 and `tls` to 465, both logged in."""

    name = ""
    program = None
    protocol = "smtp"

    def __init__(self, security="plain"):
        self.security = security

    @property
    def label(self):
        """What the table calls it."""
        return f"{self.name} {self.protocol}{ {'tls': 's', 'starttls': '+starttls', 'plain': ''}[self.security] }"

    @property
    def logs_in(self):
        """Whether it is a user's own program, sending as that user."""
        return self.security != "plain"

    def port(self, server):
        """The port for this security."""
        return server.ports[{"plain": "smtp", "starttls": "submission", "tls": "submissions"}[self.security]]

    def send(self, server, sender, recipient, octets, folder):
        """One message in; returns when the program has its 250."""
        raise NotImplementedError

    def sent(self, octets):
        """What the program makes of these octets before it sends them; None when it cannot send them."""
        return octets


class Swaks(Sender):
    """swaks with every mending of its own switched off."""

    name, program = "swaks", "swaks"

    def send(self, server, sender, recipient, octets, folder):
        words = [
            "swaks",
            "--server",
            server.host,
            "--port",
            self.port(server),
            "--from",
            sender,
            "--to",
            recipient,
            "--helo",
            "client.example.net",
            "--data",
            "-",
            "--no-data-fixup",
            "--silent",
            "2",
            "--timeout",
            "30",
        ]
        if self.security != "plain":
            words += [
                "--tls" if self.security == "starttls" else "--tls-on-connect",
                "--tls-verify",
                "--tls-ca-path",
                server.ca,
            ]
            words += [
                "--auth",
                "PLAIN" if self.security == "starttls" else "LOGIN",
                "--auth-user",
                sender,
                "--auth-password",
                server.passwords[sender],
            ]
        # With --no-data-fixup it neither doubles dots nor ends DATA, nor adds the last CRLF of the final dot.
        run(words, folder, stdin=wire.stuffed(octets)[:-2])


class Msmtp(Sender):
    """msmtp, which adds no header when told so."""

    name, program = "msmtp", "msmtp"

    def send(self, server, sender, recipient, octets, folder):
        tls = {
            "plain": "tls off\nauth off\n",
            "starttls": "tls on\ntls_starttls on\n",
            "tls": "tls on\ntls_starttls off\n",
        }[self.security]
        login = (
            ""
            if not self.logs_in
            else (
                f"tls_trust_file {server.ca}\nauth {'plain' if self.security == 'tls' else 'login'}\nuser {sender}\n"
                f"password {server.passwords[sender]}\n"
            )
        )
        secret_file(
            folder / "rc",
            f"account default\nhost {server.host}\nport {self.port(server)}\nfrom {sender}\n"
            f"add_missing_from_header off\n"
            f"add_missing_date_header off\nset_msgid_header off\nremove_bcc_headers off\nset_from_header off\n"
            f"domain client.example.net\n{tls}{login}",
        )
        run(["msmtp", "-C", folder / "rc", recipient], folder, stdin=octets)


class Curl(Sender):
    """curl."""

    name, program = "curl", "curl"

    def send(self, server, sender, recipient, octets, folder):
        mail = folder / "mail"
        mail.write_bytes(octets)
        words = ["curl", "-sS", "--cacert", server.ca, "--mail-from", sender, "--mail-rcpt", recipient, "-T", mail]
        words += ["-u", f"{sender}:{server.passwords[sender]}"] if self.logs_in else []
        words += ["--ssl-reqd"] if self.security == "starttls" else []
        scheme = "smtps" if self.security == "tls" else "smtp"
        run([*words, f"{scheme}://{server.host}:{self.port(server)}/client.example.net"], folder)


class Smtplib(Sender):
    """Python's smtplib."""

    name = "smtplib"

    def send(self, server, sender, recipient, octets, folder):
        if self.security == "tls":
            client = smtplib.SMTP_SSL(
                server.host, self.port(server), "client.example.net", context=wire.context(server), timeout=30
            )
        else:
            client = smtplib.SMTP(server.host, self.port(server), "client.example.net", timeout=30)
        with client:
            if self.security == "starttls":
                client.starttls(context=wire.context(server))
            if self.logs_in:
                client.login(sender, server.passwords[sender])
            client.sendmail(sender, [recipient], octets)


class CurlAppend(Sender):
    """curl uploading to an IMAP mailbox (APPEND)."""

    name, program, protocol = "curl append", "curl", "imap"

    def port(self, server):
        return server.ports["imaps" if self.security == "tls" else "imap"]

    def send(self, server, sender, recipient, octets, folder):
        mail = folder / "mail"
        mail.write_bytes(octets)
        scheme = "imaps" if self.security == "tls" else "imap"
        run(
            [
                "curl",
                "-sS",
                "--cacert",
                server.ca,
                "-u",
                f"{recipient}:{server.passwords[recipient]}",
                "-T",
                mail,
                f"{scheme}://{server.host}:{self.port(server)}/INBOX",
            ],
            folder,
        )


class ImaplibAppend(Sender):
    """Python's imaplib (APPEND)."""

    name, protocol = "imaplib append", "imap"

    def send(self, server, sender, recipient, octets, folder):
        with imaplib.IMAP4_SSL(server.host, server.ports["imaps"], ssl_context=wire.context(server)) as client:
            client.login(recipient, server.passwords[recipient])
            kind, answer = client.append("INBOX", None, None, octets)
            if kind != "OK":
                raise RuntimeError(f"APPEND answered {answer}")

    def sent(self, octets):
        return imaplib.MapCRLF.sub(b"\r\n", octets)  # it makes every CR, LF and CRLF a CRLF


class ImapClientAppend(Sender):
    """IMAPClient from PyPI (APPEND)."""

    name, protocol = "imapclient append", "imap"

    def send(self, server, sender, recipient, octets, folder):
        import imapclient  # a package of the tests' own environment; missing() looked before

        with imapclient.IMAPClient(server.host, server.ports["imaps"], ssl_context=wire.context(server)) as client:
            client.login(recipient, server.passwords[recipient])
            client.append("INBOX", octets)

    def sent(self, octets):
        return imaplib.MapCRLF.sub(b"\r\n", octets)  # it stands on imaplib


def senders():
    """Every program with the securities it is tried under."""
    return [
        Swaks("plain"),
        Swaks("starttls"),
        Swaks("tls"),
        Msmtp("plain"),
        Msmtp("starttls"),
        Msmtp("tls"),
        Curl("plain"),
        Curl("starttls"),
        Curl("tls"),
        Smtplib("plain"),
        Smtplib("starttls"),
        Smtplib("tls"),
        CurlAppend("plain"),
        CurlAppend("tls"),
        ImaplibAppend("tls"),
        ImapClientAppend("tls"),
    ]
