# SPDX-License-Identifier: Apache-2.0
"""A row of a table of faults: mail flows while something is done to the nodes, and what was measured stands beside its bound.

    with Row(lab, backends, owners, prober, "the owner loses its power") as row:
        lab.nodes[0].power_off()
        until(...)
        row.gap("VIP", bound=0.71)
    print(row)
    row.check()

Whatever the fault, at the end mail must have gone on, nothing accepted be lost, and one node hold the VIP.
"""
import time

from tests.lab.cluster.host import monotonic_ns
from tests.lab.cluster.mail import Mail
from tests.lab.cluster.registers import differences
from tests.lab.cluster.waiting import LabError, Seen, until

BEFORE, AFTER = 20, 20  # messages accepted before the fault, and after all
SECONDS = 30
LEAD_SECONDS = 0.5  # so much before the fault belongs to the picture


class Row:
    number = 0

    def __init__(self, lab, backends, owners, prober, title, rate=50, same=()):
        """`same`: paths of the API that all nodes must answer alike at the end."""
        Row.number += 1
        self.lab, self.backends, self.owners, self.prober, self.title = lab, backends, owners, prober, title
        self.rate, self.same, self.run = rate, same, f"row{Row.number}"
        self.measured = []  # (what, seconds or count, its error, bound or None)
        self.books = self.mail = self.began = None

    def __enter__(self):
        self.mail = Mail(self.lab, self.backends, self.owners.address, self.rate, self.run)
        self.mail.await_accepted(BEFORE, SECONDS)
        self.began = monotonic_ns() / 1e9
        return self

    def gap(self, what="VIP gap", bound=None):
        """The longest time without an answer at the VIP since the fault."""
        self.prober.await_answers(SECONDS)
        gap = self.prober.gap(since=self.began - LEAD_SECONDS)
        self.measured.append((what, gap.seconds, gap.error, bound))
        return gap

    def overlap(self, what="VIP on two nodes", bound=None):
        """For how long more than one kernel had the VIP since the fault, all together."""
        seconds = sum(end - began for began, end, _ in self.owners.overlaps(self.began))
        self.measured.append((what, seconds, 0.0, bound))
        return seconds

    def duration(self, what, condition, bound=None, limit=SECONDS):
        """How long it takes from now until a condition holds."""
        began = time.monotonic()
        until(condition, limit, f"{self.title}: {what}")
        self.measured.append((what, time.monotonic() - began, 0.02, bound))

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        self.mail.await_accepted(AFTER, SECONDS)
        self.books = self.mail.finish().check()
        until(lambda: Seen(len(self.owners.now()) == 1, self.owners.now()), SECONDS, f"{self.title}: one node holds the VIP")
        if self.same:
            on = [n for n in self.lab.nodes if n.is_on()]
            until(lambda: Seen(not differences(on, self.same), differences(on, self.same)), SECONDS, f"{self.title}: all nodes agree")

    def missed(self):
        """What exceeded its bound by more than the error of the measurement."""
        return [m for m in self.measured if m[3] is not None and m[1] - m[2] > m[3]]

    def check(self):
        if self.missed():
            raise LabError(str(self))
        return self

    def __str__(self):
        text = [f"{self.title}: " + (f"{len(self.books.accepted)} accepted, {len(self.books.lost)} lost, {len(self.books.twice)} twice, "
                                     f"{self.books.cut} cut, {self.books.not_connected} not connected" if self.books else "not finished")]
        for what, value, error, bound in self.measured:
            limit = "" if bound is None else f"   bound {bound * 1000:.0f} ms" + ("   MISSED" if value - error > bound else "")
            text.append(f"    {what:<40} {value * 1000:7.0f} ms ± {error * 1000:.0f}{limit}")
        return "\n".join(text)
