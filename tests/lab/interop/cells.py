# SPDX-License-Identifier: Apache-2.0
"""One cell of the matrix: what is sent, what must arrive, and what must be seen on the way."""
import dataclasses
import re

import bodies
from columns import CLIENT_LACKS, Column, left_out

PASSED, UNSUPPORTED, FAILED = "passed", "not supported", "FAILED"
BY_US = re.compile(r"by lb\.test \(Postroad\)\s+with (\S+)")
BY_SERVER = re.compile(r"\bwith ((?:utf8|e|l)*smtp\w*)", re.I)


@dataclasses.dataclass
class Arrival:
    head: str
    digest: str
    difference: str = ""


@dataclasses.dataclass
class Cell:
    client: str
    server: str
    column: Column
    large: bool = False  # a large message besides
    port: int = 0
    reason: str = ""  # why it is not supported
    recording: object = None
    left_out: dict = dataclasses.field(default_factory=dict)
    errors: dict = dataclasses.field(default_factory=dict)  # kind: what the client said
    failures: list = dataclasses.field(default_factory=list)

    @property
    def name(self):
        return f"{self.client}.{self.column.name}.{self.server}"

    @property
    def utf8(self):
        return self.column.use == "smtputf8"

    @property
    def sender(self):
        return f"{self.name}@source.test"

    @property
    def rcpt(self):
        local = "grüße" if self.utf8 else "someone"
        return f"{local}@{self.column.name}.{self.server}.test"

    @property
    def result(self):
        return FAILED if self.failures else UNSUPPORTED if self.reason else PASSED

    def kinds(self):
        """The bodies to send; those left out are remembered with their reasons."""
        kinds = list(self.column.bodies or bodies.SMALL) + (["large"] if self.large else [])
        for kind in kinds:
            why = left_out(self.client, kind, self.server)
            if why:
                self.left_out[kind] = why
        return [k for k in kinds if k not in self.left_out]

    def ident(self, kind):
        return f"{self.name}.{kind}"

    def content(self, kind):
        return bodies.message(self.ident(kind), kind, self.sender, self.rcpt, self.utf8)

    # ---- judging ----

    def does_more_than_the_table_says(self):
        """What a client is said to lack and was seen at, unasked, or an empty string: the table is out of date."""
        seen = {"pipelining": self.recording.pipelined, "chunking": self.recording.chunked, "smtputf8": self.recording.utf8}
        return ", ".join(use for use, saw in seen.items() if (self.client, use) in CLIENT_LACKS and saw())

    def judge(self, arrivals, bounces):
        """`arrivals`: {ident: [Arrival]} of this cell's server; `bounces`: {ident: text} of the client's own mailbox."""
        for kind in self.kinds():
            found = arrivals.get(self.ident(kind), [])
            for what in self._faults(kind, found, bounces.get(self.ident(kind), "")):
                self.failures.append(f"{kind}: {what}")
        self.failures += self._missing_evidence()

    def _faults(self, kind, found, bounce):
        if self.errors.get(kind):
            yield f"the client says: {self.errors[kind].strip()[-300:]}"
        elif bounce:
            yield f"the client gave up: {bounce}"
        elif len(found) != 1:
            yield "did not arrive" if not found else f"arrived {len(found)} times"
        # What was refused, or given up on, must not be there either.
        if found and (self.errors.get(kind) or bounce):
            yield "arrived all the same"
        for arrival in found:
            if arrival.digest != bodies.wanted(kind):
                yield f"altered: {arrival.difference}"
            yield from self._wrong_protocol(arrival.head)

    def _wrong_protocol(self, head):
        """Whether each hop had TLS as the column says, by the fields both ends wrote."""
        ours, theirs = BY_US.search(head), BY_SERVER.search(head)
        for hop, match, mode in (("to the balancer", ours, self.column.front), ("to the server", theirs, self.column.back)):
            if match is None:
                yield f"no Received field about the way {hop}"
            elif match[1].upper().endswith("S") != (mode != "none"):
                yield f"the way {hop} was {match[1]}, in a column with TLS {mode}"

    def _missing_evidence(self):
        """What the column is about must have happened; encrypted dialogues are judged by the fields alone."""
        tap = self.recording
        if self.column.use == "pipelining" and not tap.pipelined():
            yield "the client did not pipeline"
        if self.column.use == "chunking" and not tap.chunked():
            yield "the client did not use BDAT"
        if self.column.use == "smtputf8" and not tap.utf8():
            yield "the client did not say SMTPUTF8"
        if self.column.front == "none" and self.column.use != "chunking" and not tap.sent_data():
            yield "the client did not use DATA"
