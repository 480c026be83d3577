"""The peak row's load: ten 25 MB messages arriving at once, one client fetching 10,000 messages, one login hashing."""

import threading

from harness import mails, wire

SENDERS = 10
SIZE = 25_000_000
PIECE = 100_000


class Load:
    """Everything at once, within so many seconds; `failures` says what did not go well."""

    def __init__(self, server, users, patience=180, mailbox="INBOX"):
        self.server, self.users, self.patience, self.mailbox = server, users, patience, mailbox
        self.octets = wire.stuffed(mails.typical(25, SIZE))
        self.failures = []
        self.over = threading.Event()

    def run(self):
        """Until the ten are accepted and the fetch is complete."""
        threads = [threading.Thread(target=self._guarded, args=(self._send, number)) for number in range(SENDERS)]
        threads.append(threading.Thread(target=self._guarded, args=(self._fetch,)))
        hashing = threading.Thread(target=self._guarded, args=(self._log_in,))
        for thread in [hashing, *threads]:
            thread.start()
        for thread in threads:
            thread.join(self.patience)
        self.over.set()
        hashing.join(self.patience / 6)

    def _guarded(self, work, *arguments):
        try:
            work(*arguments)
        except Exception as error:  # told by the caller, with the name of what failed
            self.failures.append(f"{work.__name__}: {type(error).__name__} {error}")

    def _send(self, number):
        client = wire.Smtp(self.server, timeout=self.patience)
        client.send(f"MAIL FROM:<sender@example.net>\r\nRCPT TO:<{self.users[1 + number % (len(self.users) - 1)]}>\r\nDATA\r\n".encode())
        for want in (250, 250, 354):
            client.reply(want)
        for start in range(0, len(self.octets), PIECE):
            client.send(self.octets[start : start + PIECE])
        client.reply(250)
        client.quit()

    def _fetch(self):
        client = wire.Imap(self.server, user=self.users[0], timeout=self.patience)
        client.select(self.mailbox)
        tag = client.tag()
        client.send(tag + b" FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])\r\n")
        tail = b""
        while b"\r\n" + tag + b" " not in tail:
            data = client.sock.recv(1 << 18)
            if not data:
                raise ConnectionError("closed during the fetch")
            tail = (tail + data)[-200:]
        if b"\r\n" + tag + b" OK" not in tail:
            raise wire.Refused(tail.decode("utf-8", "replace"))
        client.close()

    def _log_in(self):
        while not self.over.is_set():
            client = wire.Imap(self.server, source=wire.address_of(77))
            try:
                client.command(f"LOGIN {self.users[2]} a-wrong-password")
                raise RuntimeError("a wrong password was taken")
            except wire.Refused:
                client.close()
