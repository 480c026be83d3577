"""The messages the tests carry: the odd ones of tests/data, the public corpus when it is there, the bench's mix."""

import base64
import functools
import os
import random
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ODD = TESTS / "data" / "odd"


class Mail:
    """One message: its name (file name without suffix) and its exact octets."""

    def __init__(self, name, octets):
        self.name = name
        self.octets = octets

    @property
    def bare(self):
        """Whether it holds a CR or LF that is not part of a CRLF (SMTP refuses it; IMAP APPEND stores it)."""
        rest = self.octets.replace(b"\r\n", b"")
        return b"\r" in rest or b"\n" in rest

    @property
    def ended(self):
        """Whether its last line has its CRLF; SMTP cannot carry one without (RFC 5321 section 4.1.1.4)."""
        return self.octets.endswith(b"\r\n")

    @property
    def by_smtp(self):
        """Whether DATA can carry it unchanged."""
        return self.ended and not self.bare and b"\0" not in self.octets

    @property
    def by_append(self):
        """Whether IMAP APPEND can carry it: any octets but NUL (RFC 3501 section 9, CHAR8), and not none at all."""
        return b"\0" not in self.octets and len(self.octets) > 0

    @property
    def longest_line(self):
        """Octets of the longest line without its CRLF."""
        return max(len(line) for line in self.octets.split(b"\r\n"))

    def for_smtp(self):
        """The message as a mail program would send it: line ends made CRLF, the last line ended."""
        if self.by_smtp:
            return self
        lines = self.octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"")
        octets = lines.replace(b"\n", b"\r\n")
        if not octets.endswith(b"\r\n"):
            octets += b"\r\n"
        return Mail(self.name + " with CRLF", octets)


@functools.cache
def odd():
    """The hand-picked structures, each file named for its oddity."""
    return [Mail(path.stem, path.read_bytes()) for path in sorted(ODD.glob("*.eml"))]


@functools.cache
def corpus():
    """The public corpus (mime4j, CPython, the RFCs' examples) when a folder beside the tree or CORPUS names it."""
    places = [
        os.environ.get("CORPUS"),
        TESTS.parent.parent / "shared" / "corpus",
        TESTS.parent.parent.parent / "shared" / "corpus",
    ]
    for place in places:
        if place and Path(place).is_dir():
            files = sorted(
                path for path in Path(place).rglob("*") if path.is_file() and path.suffix in (".eml", ".msg", ".txt")
            )
            return [Mail(f"{path.parent.name}/{path.stem}", path.read_bytes()) for path in files]
    return []


def everything():
    """Odd ones and corpus."""
    return odd() + corpus()


WORDS = (
    "mail card board power write flush index log event batch chunk folder letter stamp post box line reply session "
    "socket "
    "buffer budget memory clock tree leaf root page row key value sync disk cut tear replay model oracle seam peer "
    "client "
    "reader writer thread task timer word sentence table figure measure limit bound reason section author name place"
).split()


def _text(rng, size):
    out, column, left = [], 0, size
    while left > 0:
        word = rng.choice(WORDS)
        if column + len(word) > 72:
            out.append("\r\n")
            column, left = 0, left - 2
        out.append(word + " ")
        column += len(word) + 1
        left -= len(word) + 1
    return "".join(out) + "\r\n"


@functools.cache
def _blob(size):
    return base64.encodebytes(random.Random(size).randbytes(size * 57 // 78)).replace(b"\n", b"\r\n")


def standing_size(number):
    """Sizes of a standing mailbox: 80 % 3 KB, 17 % 15 KB, 3 % 120 KB, mean about 8.5 KB."""
    place = (number * 7919) % 100
    return 3000 if place < 80 else 15000 if place < 97 else 120_000


def typical(number, size, to="user0@example.org", message_id=None):
    """A deterministic message of about `size` octets such as lists and people send, of one or two parts."""
    rng = random.Random(number)
    identity = message_id or f"{rng.getrandbits(80):x}.{number}@example.org"
    head = [f"Return-Path: <bounce-{number}@list{number % 7}.example>"]
    for hop in range(3):
        head.append(
            f"Received: from relay{hop}.example (relay{hop}.example [192.0.2.{rng.randint(1, 250)}])\r\n"
            f"\tby mx{hop}.example with "
            f"ESMTPS id {rng.getrandbits(60):x};\r\n\tMon, {1 + number % 27} Jan 2025 10:{number % 60:02d}:0{hop} +0000"
        )
    signature = base64.b64encode(rng.randbytes(187)).decode()
    head.append(
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\r\n\th=from:to:subject:date;\r\n"
        f"\tb={signature}"
    )
    head += [
        f'From: "{rng.choice(WORDS).title()} {rng.choice(WORDS).title()}" <sender{number % 211}@example.org>',
        f"To: {to}",
        f"Subject: {' '.join(rng.choices(WORDS, k=5))}",
        f"Date: Mon, {1 + number % 27} Jan 2025 10:{number % 60:02d}:00 +0000",
        f"Message-ID: <{identity}>",
        "MIME-Version: 1.0",
    ]
    left = max(300, size - sum(len(line) + 2 for line in head) - 100)
    if size < 5000:
        head.append("Content-Type: text/plain; charset=utf-8")
        return ("\r\n".join(head) + "\r\n\r\n" + _text(rng, left)).encode()
    boundary = f"=_b{rng.getrandbits(64):x}"
    if size <= 40000:
        head.append(f'Content-Type: multipart/alternative; boundary="{boundary}"')
        return (
            "\r\n".join(head)
            + f"\r\n\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{_text(rng, left // 4)}"
            f"\r\n--{boundary}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            f"<html><body><p>{_text(rng, left * 3 // 4)}</p></body></html>\r\n--{boundary}--\r\n"
        ).encode()
    head.append(f'Content-Type: multipart/mixed; boundary="{boundary}"')
    start = (
        "\r\n".join(head)
        + f"\r\n\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{_text(rng, 1500)}\r\n"
        f'--{boundary}\r\nContent-Type: application/pdf; name="f{number}.pdf"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return start.encode() + _blob(size - 3000) + f"\r\n--{boundary}--\r\n".encode()
