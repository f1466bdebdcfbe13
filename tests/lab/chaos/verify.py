# SPDX-License-Identifier: Apache-2.0
"""The books compared: what senders were answered, what backends stored, what the balancer logged.

Attempts are told apart by their sender address, which no two share, so each promise is checked per attempt:
  answered    250 came, so exactly one backend holds exactly this message, under the id the answer names
  explained   no 250 came, yet a backend holds the message: only where the log says so (ambiguous, or accepted after the client had
              gone), or where the balancer was killed meanwhile
  logged      one transaction line per attempt whose MAIL was accepted, unless the balancer was killed meanwhile; a line that says
              accepted is true
"""

import collections
import hashlib
import json

from messages import Message, normalise
from world import sender_of, transactions

KILL_SLACK = 0.05
CLOSING = 1.0  # until the balancer has noticed that a client has gone
AFTERLIFE = 20.0  # how long it may wait for a backend's answer after its client has gone: longer than every deadline in its pool
SHOWN_MAX = 40


def read_store(path):
    """(record, content) of each whole record."""
    data = path.read_bytes()
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        try:
            record = json.loads(data[at:end])
        except ValueError:
            break  # cut short by a kill inside the line
        stop = end + 1 + record["size"]
        if stop + 1 > len(data):
            break
        yield record, data[end + 1:stop]
        at = stop + 1


def split_received(content):
    """(the first header field if it is Received, the rest)."""
    if not content.startswith(b"Received: "):
        return None, content
    at = 0
    while True:
        at = content.find(b"\r\n", at)
        if at < 0:
            return None, content
        at += 2
        if content[at:at + 1] not in (b" ", b"\t"):
            return content[:at], content[at:]


def was_killed_meanwhile(attempt, kills):
    """Was the balancer killed before it could be done with the attempt?"""
    end = attempt.ended + KILL_SLACK
    if attempt.outcome in ("vanished", "lost", "silent"):
        end += AFTERLIFE if attempt.is_dot_sent else CLOSING
    return any(attempt.started - KILL_SLACK <= after and before <= end for before, after in kills)


class Books:
    def __init__(self, seed, attempts, stores, logs, kills, received_port):
        """received_port: the listener that adds a Received field. None: no balancer in between, nothing may be changed."""
        self.seed, self.attempts, self.kills, self.received_port = seed, attempts, kills, received_port
        self.is_direct = logs is None
        self.violations = []
        self.explained, self.ways = collections.Counter(), collections.Counter()
        self.by_sender = {a.sender: a for a in attempts}
        self.copies, self.lines = collections.defaultdict(list), collections.defaultdict(list)
        self.n_lost = self.n_corrupted = self.n_unexplained = 0
        for line in transactions(logs or []):
            self.lines[sender_of(line)].append(line)
        self.expected = {}
        for path in stores:
            for record, content in read_store(path):
                self.take_copy(record, content)

    def bad(self, attempt, what):
        self.violations.append((attempt.message.number if attempt else -1, what, attempt.describe() if attempt else ""))

    # ---- copies ----

    def take_copy(self, record, content):
        attempt = self.by_sender.get(record["from"])
        if attempt is None:
            self.n_corrupted += 1
            self.violations.append((-1, f"a backend holds a message nobody sent: {record}", ""))
            return
        self.copies[record["from"]].append(record)
        chunks = record.get("chunks", 0)
        self.ways["DATA" if chunks == 0 else "one chunk" if chunks == 1 else "several chunks"] += 1
        why = self.compare(attempt, record, content)
        if why is not None:
            self.n_corrupted += 1
            self.bad(attempt, f"corrupted in {record['id']}: {why}")

    def wanted(self, attempt):
        number = attempt.message.number
        if number not in self.expected:
            content = Message(self.seed, number).content
            self.expected = {number: content if self.is_direct else normalise(content)}
        return self.expected[number]

    def compare(self, attempt, record, content):
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            return "the record does not match its own hash"
        if not self.is_direct and not record["canonical"]:
            return "a bare CR or LF reached the backend"
        if not set(record["rcpts"]) <= set(attempt.message.rcpts) or len(set(record["rcpts"])) != len(record["rcpts"]):
            return f"recipients {record['rcpts']}"
        if attempt.outcome == "accepted" and set(record["rcpts"]) != set(attempt.accepted_rcpts):
            return f"recipients {record['rcpts']}, but {attempt.accepted_rcpts} were accepted"
        if attempt.port == self.received_port:
            received, content = split_received(content)
            if received is None:
                return "the Received field is missing"
        want = self.wanted(attempt)
        if content != want:
            at = next((i for i, (a, b) in enumerate(zip(content, want)) if a != b), min(len(content), len(want)))
            return (f"{len(content)} bytes instead of {len(want)}, different from byte {at} on: {content[max(0, at - 20):at + 40]!r} "
                    f"instead of {want[max(0, at - 20):at + 40]!r}")
        return None

    # ---- attempts ----

    def check(self):
        for attempt in self.attempts:
            copies, lines = self.copies[attempt.sender], self.lines[attempt.sender]
            if attempt.outcome == "accepted":
                self.check_accepted(attempt, copies)
            else:
                self.check_unanswered(attempt, copies, lines)
            if not self.is_direct:
                self.check_lines(attempt, copies, lines)
        return self.violations

    def check_accepted(self, attempt, copies):
        if not copies:
            self.n_lost += 1
            self.bad(attempt, "LOST: answered 250, and no backend holds it")
        elif len(copies) > 1:
            self.n_unexplained += 1
            self.bad(attempt, f"stored {len(copies)} times within one attempt: {[c['id'] for c in copies]}")
        elif not attempt.reply.endswith(f"queued as {copies[0]['id']}"):
            self.bad(attempt, f"the answer names another copy than {copies[0]['id']}")

    def check_unanswered(self, attempt, copies, lines):
        if attempt.outcome == "silent" and not was_killed_meanwhile(attempt, self.kills):
            self.bad(attempt, "never answered")
        if not copies:
            return
        if len(copies) > 1:
            self.n_unexplained += 1
            self.bad(attempt, f"stored {len(copies)} times within one attempt: {[c['id'] for c in copies]}")
            return
        why = self.explanation(attempt, lines)
        if why is None:
            self.n_unexplained += 1
            self.bad(attempt, f"stored as {copies[0]['id']}, though 250 was not answered; log: {lines}")
        else:
            self.explained[why] += 1

    def explanation(self, attempt, lines):
        if self.is_direct:
            return "connection lost after the dot" if attempt.is_dot_sent and attempt.outcome != "refused" else None
        if any(line.get("cause") == "ambiguous" for line in lines):
            return "ambiguous"
        is_accepted = any(line.get("result") == "accepted" for line in lines)
        if is_accepted and attempt.is_dot_sent and attempt.outcome == "vanished":
            return "client gone after the dot"
        if (is_accepted or not lines) and was_killed_meanwhile(attempt, self.kills):
            return "balancer killed"
        return None

    def check_lines(self, attempt, copies, lines):
        if len(lines) > 1:
            self.bad(attempt, f"{len(lines)} transaction lines for one attempt: {lines}")
        if not lines and attempt.mail_reply == 250 and not was_killed_meanwhile(attempt, self.kills):
            self.bad(attempt, "no transaction line")
        for line in lines:
            if line.get("result") == "accepted" and not copies:
                self.n_lost += 1
                self.bad(attempt, f"LOST: logged as accepted, and no backend holds it: {line}")
            if attempt.outcome == "accepted" and line.get("result") != "accepted":
                self.bad(attempt, f"answered 250, but logged as {line.get('result')}: {line}")
