"""Plain drivers for SMTP, IMAP and POP3: no conveniences between the test and the octets. Loopback only."""

import base64
import re
import socket
import ssl
import time

TIMEOUT_S = 60


class Refused(Exception):
    """The server answered no; the text is its answer."""


def address_of(number):
    """Another loopback source address for each number, for tests with more connections than one address may have."""
    return f"127.{number % 200 + 2}.{number // 200 % 250}.7"


def dial(server, port, tls=False, source=None, timeout=None):
    """A socket to a named port of the server, under TLS verified against its own CA when asked."""
    timeout = timeout or getattr(server, "timeout_s", TIMEOUT_S)
    raw = socket.create_connection(
        ("127.0.0.1", server.ports[port]), timeout, source_address=(source, 0) if source else None
    )
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context(server).wrap_socket(raw, server_hostname=server.host) if tls else raw


def context(server):
    """A TLS context that trusts the server's CA and nobody else; one per server, so that sessions can be resumed."""
    if not hasattr(server, "tls_context"):
        server.tls_context = ssl.create_default_context(cafile=str(server.ca))
    return server.tls_context


class Lines:
    """A socket with a buffer: whole lines and counted octets."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()

    def more(self):
        """Reads what is there; the end of the stream is an error."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.buffer += data

    def line(self):
        """One line without its CRLF."""
        start = 0
        while True:
            end = self.buffer.find(b"\r\n", start)
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[: end + 2]
                return line
            start = max(0, len(self.buffer) - 1)
            self.more()

    def octets(self, count):
        """Exactly so many octets."""
        while len(self.buffer) < count:
            self.more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def send(self, data):
        """All of it."""
        self.sock.sendall(data)

    def wrap(self, server):
        """STARTTLS: what was buffered before it must be nothing."""
        if self.buffer:
            raise ConnectionError(f"octets before the handshake: {bytes(self.buffer[:50])!r}")
        self.sock = context(server).wrap_socket(self.sock, server_hostname=server.host)

    def close(self):
        """Without a word."""
        self.sock.close()


def stuffed(octets):
    """DATA's form: leading dots doubled, the last line ended, the final dot (RFC 5321 section 4.5.2)."""
    text = octets.replace(b"\r\n.", b"\r\n..")
    if text.startswith(b"."):
        text = b"." + text
    return text + (b"" if text.endswith(b"\r\n") or not text else b"\r\n") + b".\r\n"


class Smtp(Lines):
    """An SMTP client; `user` logs in (submission)."""

    def __init__(self, server, port="smtp", tls=False, starttls=False, user=None, source=None, timeout=None):
        super().__init__(dial(server, port, tls, source, timeout))
        self.reply(220)
        self.hello()
        if starttls:
            self.command("STARTTLS", 220)
            self.wrap(server)
            self.hello()
        if user:
            token = base64.b64encode(f"\0{user}\0{server.passwords[user]}".encode()).decode()
            self.command(f"AUTH PLAIN {token}", 235)

    def hello(self):
        """EHLO; keeps what is offered."""
        self.offers = self.command("EHLO client.example.net", 250)

    def command(self, text, want):
        """Sends a line and returns the whole reply, whose code must be `want`."""
        self.send(text.encode() + b"\r\n")
        return self.reply(want)

    def reply(self, want):
        """One reply of any number of lines."""
        lines = []
        while True:
            line = self.line()
            lines.append(line.decode("utf-8", "replace"))
            if line[3:4] != b"-":
                if int(line[:3]) != want:
                    raise Refused(" / ".join(lines))
                return lines

    def deliver(self, recipients, octets, sender="sender@example.net", parameters=""):
        """One message, its envelope pipelined; returns the moment (perf_counter) its 250 was read."""
        envelope = [
            f"MAIL FROM:<{sender}>{parameters}",
            *(f"RCPT TO:<{recipient}>" for recipient in recipients),
            "DATA",
        ]
        self.send("".join(line + "\r\n" for line in envelope).encode())
        for _ in envelope[:-1]:
            self.reply(250)
        self.reply(354)
        self.send(stuffed(octets))
        self.reply(250)
        return time.perf_counter()

    def quit(self):
        """QUIT and close."""
        self.command("QUIT", 221)
        self.close()


LITERAL = re.compile(rb"\{(\d+)\}\Z")


class Imap(Lines):
    """An IMAP client that keeps every response as the octets it came in. A server that is not on this machine takes no password
    without TLS."""

    def __init__(self, server, port="imap", tls=False, starttls=False, user=None, source=None, timeout=None):
        if port == "imap" and not starttls and not getattr(server, "is_near", True):
            port, tls = "imaps", True
        super().__init__(dial(server, port, tls, source, timeout))
        self.count = 0
        self.greeting = self.line()
        if not self.greeting.startswith(b"* OK"):
            raise Refused(self.greeting.decode("utf-8", "replace"))
        if starttls:
            self.command("STARTTLS")
            self.wrap(server)
        if user:
            self.command(f'LOGIN {user} "{server.passwords[user]}"')

    def tag(self):
        """The next tag."""
        self.count += 1
        return b"t%d" % self.count

    def response(self):
        """One response: a list of its lines' pieces and literals in turn (odd places are literals)."""
        parts = []
        while True:
            line = self.line()
            match = LITERAL.search(line)
            parts.append(line)
            if not match:
                return parts
            parts.append(self.octets(int(match[1])))

    def until(self, tag, good=("OK",)):
        """Responses up to this tag's, which must be one of `good`."""
        got = []
        while True:
            response = self.response()
            if response[0].startswith(tag + b" "):
                if response[0][len(tag) + 1 :].decode("utf-8", "replace").partition(" ")[0].upper() not in good:
                    raise Refused(response[0].decode("utf-8", "replace"))
                got.append(response)
                return got
            got.append(response)

    def command(self, text, good=("OK",)):
        """Sends one command, returns its responses, the tagged one last."""
        tag = self.tag()
        self.send(tag + b" " + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return self.until(tag, good)

    def select(self, mailbox="INBOX"):
        """SELECT; returns the number of messages."""
        for response in self.command(f'SELECT "{mailbox}"'):
            match = re.match(rb"\* (\d+) EXISTS", response[0])
            if match:
                exists = int(match[1])
        return exists

    def status(self, mailbox="INBOX"):
        """How many messages a mailbox holds."""
        for response in self.command(f'STATUS "{mailbox}" (MESSAGES)'):
            match = re.search(rb"MESSAGES (\d+)", response[0])
            if match:
                return int(match[1])
        raise Refused("no STATUS response")

    def append(self, mailbox, octets, flags=""):
        """One APPEND by a synchronizing literal; returns its UID (UIDPLUS, RFC 4315)."""
        tag = self.tag()
        self.send(tag + f' APPEND "{mailbox}" ({flags}) {{{len(octets)}}}\r\n'.encode())
        line = self.line()
        while line.startswith(b"* "):
            line = self.line()
        if not line.startswith(b"+"):
            raise Refused(line.decode("utf-8", "replace"))
        self.send(octets)
        self.send(b"\r\n")
        done = self.until(tag)[-1][0]
        match = re.search(rb"APPENDUID \d+ (\d+)\]", done)
        return int(match[1]) if match else None

    def append_many(self, mailbox, messages, window=50):
        """Many APPENDs with non-synchronizing literals, `window` of them in flight."""
        waiting = []
        for octets in messages:
            tag = self.tag()
            self.send(tag + f' APPEND "{mailbox}" {{{len(octets)}+}}\r\n'.encode() + octets + b"\r\n")
            waiting.append(tag)
            if len(waiting) >= window:
                self.until(waiting.pop(0))
        for tag in waiting:
            self.until(tag)

    def bodies(self, what="BODY.PEEK[]", numbers="1:*"):
        """UID FETCH of everything: (uid, octets) in the order of the mailbox."""
        found = []
        for response in self.command(f"UID FETCH {numbers} (UID {what})"):
            match = re.match(rb"\* \d+ FETCH \(", response[0])
            if not match:
                continue
            joined = b" ".join(part for place, part in enumerate(response) if place % 2 == 0)
            uid = int(re.search(rb"UID (\d+)", joined)[1])
            if len(response) > 1:
                found.append((uid, response[1]))
            else:  # an empty or a short body may come quoted
                quoted = re.search(rb'\] "((?:[^"\\]|\\.)*)"', response[0])
                found.append((uid, re.sub(rb"\\(.)", rb"\1", quoted[1])))
        return found

    def idle(self):
        """Starts IDLE (RFC 2177); returns once the server waits."""
        self.idle_tag = self.tag()
        self.send(self.idle_tag + b" IDLE\r\n")
        line = self.line()
        while not line.startswith(b"+"):
            line = self.line()

    def done(self):
        """Ends IDLE; returns what came with its end."""
        self.send(b"DONE\r\n")
        return self.until(self.idle_tag)

    def logout(self):
        """LOGOUT and close."""
        self.command("LOGOUT")
        self.close()


class Pop3(Lines):
    """A POP3 client."""

    def __init__(self, server, port="pop3", tls=False, stls=False, user=None, source=None, timeout=None):
        super().__init__(dial(server, port, tls, source, timeout))
        self.one()
        if stls:
            self.one("STLS")
            self.wrap(server)
        if user:
            self.one(f"USER {user}")
            self.one(f"PASS {server.passwords[user]}")

    def one(self, text=None):
        """A command with a one-line answer."""
        if text:
            self.send(text.encode() + b"\r\n")
        line = self.line()
        if not line.startswith(b"+OK"):
            raise Refused(line.decode("utf-8", "replace"))
        return line.decode("utf-8", "replace")

    def many(self, text):
        """A command with a multi-line answer, its octets without the final dot, dots unstuffed (RFC 1939 section 3).

        The server doubles a dot after any LF, bare ones included, because most programs read lines so.
        """
        self.one(text)
        start = 0
        while True:
            if self.buffer.startswith(b".\r\n"):
                end, length = 0, 3
                break
            end, length = self.buffer.find(b"\r\n.\r\n", max(0, start - 5)), 5
            if end >= 0:
                break
            start = len(self.buffer)
            self.more()
        text = bytes(self.buffer[: end + (2 if length == 5 else 0)])
        del self.buffer[: end + length]
        text = text.replace(b"\n..", b"\n.")
        return text[1:] if text.startswith(b"..") else text

    def quit(self):
        """QUIT and close."""
        self.one("QUIT")
        self.close()
