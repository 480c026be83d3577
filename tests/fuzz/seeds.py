#!/usr/bin/env python3
"""Writes fuzzing seeds: what the clients of the dialogue scripts send, and the odd messages. tests/fuzz/seeds.py DIR"""
import pathlib, re, sys

root = pathlib.Path(__file__).resolve().parents[1]
out = pathlib.Path(sys.argv[1])
room = {"smtp": "smtp", "submission": "smtp", "submissions": "smtp", "imap": "imap", "imaps": "imap", "pop3": "pop3", "pop3s": "pop3"}


def unescape(text):
    text = text.encode()
    one = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}
    return re.sub(rb"\\(x([0-9a-fA-F]{2})|.)", lambda m: bytes([int(m[2], 16)]) if m[2] else one.get(m[1], b""), text)


for name in ("smtp", "imap", "pop3", "mime", "values", "replay"):
    (out / name).mkdir(parents=True, exist_ok=True)
for script in sorted((root / "scripts").glob("*.txt")):
    protocol, octets = None, b""
    for line in script.read_text().splitlines():
        line = re.sub(r"^\[\w+\] ", "", line)
        if line.startswith("protocol:"):
            protocol = protocol or room[line.split(":")[1].strip()]
        elif line.startswith("C:"):
            octets += line[3:].encode() + b"\r\n"
        elif line.startswith("C!"):
            octets += unescape(line[3:])
    if protocol and octets:
        (out / protocol / script.stem).write_bytes(octets[:8192])
for message in sorted((root / "data" / "odd").glob("*.eml")):
    (out / "mime" / message.stem).write_bytes(b"\x07" + message.read_bytes()[:8191])
