"""Byte-for-byte comparison that tells where and how two messages differ."""

import re

# What delivery adds on top (RFC 5321 section 4.4), and nothing else: one Return-Path line, one folded Received field.
DATE = rb"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}"
TRACE = re.compile(
    rb"\AReturn-Path: <([^<>\r\n]*)>\r\nReceived: from [^\r\n]+\r\n\tby [^\r\n]+ with [A-Z0-9]+ id [^\r\n; ]+"
    rb"(?:\r\n\tfor <[^\r\n]+>)?; " + DATE + rb"\r\n"
)
# What submission adds at the header's end where the program left it out (RFC 6409 sections 8.2 and 8.3).
ADDED_DATE = rb"Date: " + DATE + rb"\r\n"
ADDED_MESSAGE_ID = rb"Message-ID: <[^<>\r\n]+@[^<>\r\n]+>\r\n"
CONTEXT = 40


def difference(expected, got):
    """None when equal, else the first differing offset with both sides' bytes around it."""
    if expected == got:
        return None
    shorter = min(len(expected), len(got))
    low, high = 0, shorter
    while low < high:  # the longest common beginning, by halves: fast on 100 MB
        middle = (low + high + 1) // 2
        if expected[low:middle] == got[low:middle]:
            low = middle
        else:
            high = middle - 1
    window = slice(max(0, low - CONTEXT), low + CONTEXT)
    return (
        f"first difference at byte {low} of {len(expected)} expected, {len(got)} got\n"
        f"      expected ...{expected[window]!r}\n      got      ...{got[window]!r}"
    )


def without_trace(stored, sender):
    """The message below the trace headers; raises ValueError when they are not exactly the known ones."""
    match = TRACE.match(stored)
    if not match:
        raise ValueError(f"no Return-Path and Received on top: {stored[:120]!r}")
    if match[1].decode("utf-8", "replace") != sender:
        raise ValueError(f"Return-Path says {match[1]!r}, sent by {sender!r}")
    return stored[match.end() :]


def uncompleted(stored, sent):
    """A submitted message as it was sent: without the Date and Message-ID that submission added because it had none."""
    end = 0 if sent.startswith(b"\r\n") else sent.find(b"\r\n\r\n") + 2
    end = len(sent) if end == 1 else end
    names = {
        line.partition(b":")[0].strip().lower() for line in sent[:end].split(b"\r\n") if line[:1] not in (b" ", b"\t")
    }
    wanted = (b"" if b"date" in names else ADDED_DATE) + (b"" if b"message-id" in names else ADDED_MESSAGE_ID)
    match = re.compile(wanted).match(stored, end)
    return stored[:end] + stored[match.end() :] if match else stored


def unmatched(expected, got):
    """Compares two collections of messages whatever their order.

    `expected` is a list of (name, octets), `got` a list of octets. Yields (name, why) for each message missing or
    changed, pairing a changed one with the download most like it, and for each download nobody asked for.
    """
    pool = {}
    for octets in got:
        pool.setdefault(octets, 0)
        pool[octets] += 1
    missing = []
    for name, octets in expected:
        if pool.get(octets, 0):
            pool[octets] -= 1
        else:
            missing.append((name, octets))
    surplus = [octets for octets, count in pool.items() for _ in range(count)]
    for name, octets in missing:
        best = max(surplus, key=lambda candidate: _likeness(octets, candidate), default=None)
        if best is None or _likeness(octets, best) < 0.2:
            yield name, f"missing ({len(octets)} bytes, begins {octets[:60]!r})"
            continue
        surplus.remove(best)
        yield name, difference(octets, best)
    for octets in surplus:
        yield "a message that was never sent", f"{len(octets)} bytes, begins {octets[:120]!r}"


def _likeness(one, other):
    """How much two messages share, 0 to 1, by their lines; the first 400 lines decide."""
    ours, theirs = set(one.splitlines()[:400]), set(other.splitlines()[:400])
    if not ours and not theirs:
        return 1.0
    return len(ours & theirs) / max(1, len(ours | theirs))
