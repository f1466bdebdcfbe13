# SPDX-License-Identifier: Apache-2.0
"""One cell of the matrix: what is sent, what must arrive, and what must be seen on the way."""
import dataclasses
import re

import bodies
from columns import ADDRESSES, CLIENT_LACKS, HELO, OURS, Column, left_out

PASSED, UNSUPPORTED, FAILED = "passed", "not supported", "FAILED"
FIELD = re.compile(r"^Received: from (.*(?:\n[ \t].*)*)", re.M)
BY_US, BY_SERVER = "by lb.test (Postroad)", "by mta.test"
PROTOCOL = re.compile(r"\bwith ((?:utf8|e|l)*smtp\w*)", re.I)
ADDRESS = re.compile(r"\[([\d.]+)\]")


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
    recording: object = None  # of what the client and the balancer said
    back: object = None  # of what the balancer and the server said, for all cells of this column and server
    announced: set = dataclasses.field(default_factory=set)  # what the server said when it was asked
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
    def address(self):
        return ADDRESSES[self.client]

    def uses(self, what):
        return self.column.uses(self.client, what)

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
            yield from self._wrong_hops(arrival.head)

    def _wrong_hops(self, head):
        """What each end of the way wrote into its field: whether there was TLS, and who its client was."""
        told = self.address if self.column.identity else OURS
        for hop, by, mode, client in (("to the balancer", BY_US, self.column.front, self.address),
                                      ("to the server", BY_SERVER, self.column.back, told)):
            field = next((f[1] for f in FIELD.finditer(head) if by in f[1]), "")
            protocol, address = PROTOCOL.search(field), ADDRESS.search(field)
            if not protocol or not address:
                yield f"no Received field about the way {hop}"
                continue
            if protocol[1].upper().endswith("S") != (mode != "none"):
                yield f"the way {hop} was {protocol[1]}, in a column with TLS {mode}"
            if address[1] != client:
                yield f"the way {hop} was for {address[1]}, not for {client}"
            if by == BY_SERVER and self.column.identity == "xclient" and HELO not in field:
                yield f"the server was not told that the client is {HELO}"

    def _missing_evidence(self):
        """What the column is about must have happened; encrypted dialogues are judged by the fields alone."""
        tap = self.recording
        if self.uses("pipelining") and not tap.pipelined():
            yield "the client did not pipeline"
        if self.uses("chunking") and not tap.chunked():
            yield "the client did not use BDAT"
        if self.uses("smtputf8") and not tap.utf8():
            yield "the client did not say SMTPUTF8"
        if self.column.front == "none" and not self.uses("chunking") and not tap.sent_data():
            yield "the client did not use DATA"
        if self.back is not None:
            yield from self._missing_behind(self.back.of(self.sender))

    def _missing_behind(self, tap):
        """What the balancer and the server said: what the server can, and nothing else."""
        if not tap.sent_data() and not tap.chunked():
            yield "the balancer sent the server no content"
        if self.uses("pipelining") and "PIPELINING" in self.announced and not self.column.bare and not tap.pipelined():
            yield "the balancer did not pipeline"
        by_chunks = self.uses("chunking") or self.column.chunking == "always"
        if by_chunks and "CHUNKING" in self.announced and not self.column.bare and not tap.chunked():
            yield "the balancer did not use BDAT"
        able = set() if self.column.bare else self.announced
        for extension, seen in (("PIPELINING", tap.pipelined()), ("CHUNKING", tap.chunked()), ("SMTPUTF8", tap.utf8())):
            if seen and extension not in able:
                yield f"the balancer used {extension}, which the server does not announce"
