"""What programs make of a message while they save it: models of the programs, each change named with its reason."""

import email
import email.policy
import re
from email.errors import NoBoundaryInMultipartDefect
from email.parser import BytesParser


def unix(octets):
    """Line ends as Unix files have them: a CRLF becomes LF; nothing else changes."""
    return octets.replace(b"\r\n", b"\n")


def by_pop3(octets):
    """POP3's multi-line answers end with a line end, whatever the message does (RFC 1939 section 3)."""
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def header_ends(octets):
    """Whether an empty line ends the header."""
    return octets.startswith((b"\n", b"\r\n")) or b"\n\n" in unix(octets)


def body_has_a_line(octets):
    """Whether there is a header's end and at least one whole line after it."""
    return b"\n" in unix(octets).partition(b"\n\n")[2]


def by_lines(octets):
    """A program that reads POP3's answer line by line takes a bare LF for a line's end too."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", octets)


def by_crlf_lines(octets):
    """A program that knows only CRLF leaves the dot doubled after a bare LF; most programs take one away."""
    return re.sub(rb"(?<!\r)\n\.", b"\n..", octets)


def mbsync(octets):
    """mbsync drops every CR, and refuses a message whose header has no end."""
    lines = octets.replace(b"\r", b"")
    return lines if header_ends(lines) else None


def fetchmail(octets, by_imap):
    """fetchmail drops every CR, and mbox From_ lines in the header; it ends a header that has no end and a last line
    that has none; above a message without a header it writes one of its own. Over IMAP a header whose last line has
    no end takes the parenthesis that closes FETCH's answer with it.
    """
    lines = octets.replace(b"\r", b"")
    if lines.startswith(b"\n"):
        return None
    if not lines.endswith(b"\n"):
        lines += b")\n" if by_imap and not header_ends(lines) else b"\n"
    head, end, body = lines.partition(b"\n\n")
    head = re.sub(rb"(?m)^From [^\n]*(?:\n|\Z)", b"", head)
    return head + end + body if end else head + b"\n"


def offlineimap(octets):
    """offlineimap parses with Python's email package and writes what that prints; the same settings as its own."""
    settings = email.policy.default.clone(cte_type="8bit", utf8=True, refold_source="none")
    parser = BytesParser(policy=settings.clone(linesep="\r\n"))
    message = parser.parsebytes(octets)
    if any(isinstance(defect, NoBoundaryInMultipartDefect) for defect in message.defects):
        message = parser.parsebytes(_quoted_boundary(octets))
    return message.as_bytes(policy=settings)


def _quoted_boundary(octets):
    """offlineimap's mend for an unquoted boundary."""
    head = re.split(rb"\r?\n\r?\n", octets)[0]
    match = re.search(
        rb"content-type:.*(boundary=[\"]?[A-Za-z0-9'()+_,-./:=? ]+[\"]?)", head, re.IGNORECASE | re.DOTALL
    )
    if not match:
        return octets
    name, value = match[1].split(b"=", 1)
    value = value.rstrip()
    if value[0] == value[-1] == ord('"'):
        return octets
    return octets.replace(match[1], name + b'="' + value + b'"', 1)


def getmail(octets, by_lines):
    """getmail prints what Python's email package parsed, below a Return-Path it writes itself; POP3 gives it lines."""
    message = BytesParser().parsebytes(unix(octets) if by_lines else octets)
    sender = str(message["Return-Path"] or message["Sender"] or "unknown")
    pieces = sender.split("<")
    sender = pieces[1].split(">")[0] if len(pieces) > 1 else sender
    del message["Return-Path"]
    if not by_lines:
        message["X-getmail-retrieved-from-mailbox"] = "INBOX"  # its IMAP retrievers add this field
    return f"Return-Path: <{sender}>\n".encode() + message.as_bytes(policy=message.policy.clone(linesep="\n"))


def or_none(model, *arguments):
    """The model's answer, or None where Python's email package fails on the message, and the program with it."""
    try:
        return model(*arguments)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
