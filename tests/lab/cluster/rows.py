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
from tests.lab.cluster import linear
from tests.lab.cluster.host import monotonic_ns
from tests.lab.cluster.mail import Mail
from tests.lab.cluster.observers import ERROR_SECONDS, PROBE_MS, verdict
from tests.lab.cluster.registers import differences
from tests.lab.cluster.waiting import LabError, Seen, until

BEFORE, AFTER = 20, 20  # messages accepted before the fault, and after all
SECONDS = 30
LEAD_SECONDS = 0.5  # so much before the fault belongs to the picture


class Row:
    number = 0

    def __init__(self, lab, backends, owners, prober, title, rate=50, same=(), mail_goes_on=False):
        """`same`: paths of the API that all nodes must answer alike at the end. `mail_goes_on`: no session is refused, and no
        transaction is cut."""
        Row.number += 1
        self.lab, self.backends, self.owners, self.prober, self.title = lab, backends, owners, prober, title
        self.rate, self.same, self.mail_goes_on, self.run = rate, same, mail_goes_on, f"row{Row.number}"
        self.measured = []  # (what, seconds, its error, bound or None)
        self.counted = []  # (what, number, bound or None)
        self.books = self.mail = self.began = None

    def __enter__(self):
        self.mail = Mail(self.lab, self.backends, self.owners.address, self.rate, self.run)
        self.mail.await_accepted(BEFORE, SECONDS)
        self.began = monotonic_ns() / 1e9
        return self

    def fault(self, at=None):
        """The fault happens now (or happened then): times are counted from here, not from when all was prepared."""
        self.began = monotonic_ns() / 1e9 if at is None else at

    def gap(self, what="VIP gap", bound=None, since=None):
        """The longest time without an answer at the VIP since the fault (or `since`)."""
        self.prober.await_answers(SECONDS)
        gap = self.prober.gap(since=self.began - LEAD_SECONDS if since is None else since)
        self.measured.append((what, gap.seconds, gap.error, bound))
        return gap

    def overlap(self, what="VIP on two nodes", bound=None, since=None):
        """For how long more than one kernel had the VIP since the fault (or `since`), all together."""
        seconds = sum(end - began for began, end, _ in self.owners.overlaps(self.began if since is None else since))
        self.measured.append((what, seconds, 0.0, bound))
        return seconds

    def duration(self, what, condition, bound=None, limit=SECONDS, since=None):
        """How long it takes from now (or `since`) until a condition holds."""
        began = monotonic_ns() / 1e9 if since is None else since
        until(condition, limit, f"{self.title}: {what}")
        self.measured.append((what, monotonic_ns() / 1e9 - began, 0.02, bound))

    def taken_over(self, what, owner, bound=None, since=None, seconds=SECONDS):
        """From the fault (or `since`) until another node than `owner` answered at the VIP for the first time."""
        since, mac = self.began if since is None else since, self.lab.lan.mac(owner.name)

        def first():
            self.prober.read()
            return next((a[0] for a in sorted(self.prober.answers) if a[0] >= since and a[2] != mac), None)
        at = until(first, seconds, f"{self.title}: another node answers")
        self.measured.append((what, at - since, PROBE_MS / 1000, bound))
        return at - since

    def let_go(self, what, node, bound=None, since=None, seconds=SECONDS):
        """From the fault (or `since`) until this node's kernel has the VIP no more."""
        since = self.began if since is None else since
        at = until(lambda: self.owners.lost_by(node.name, since), seconds, f"{self.title}: {node.name} has the VIP no more")
        self.measured.append((what, at - since, ERROR_SECONDS, bound))
        return at - since

    def count(self, what, value, bound=None):
        """A number that is no time."""
        self.counted.append((what, value, bound))

    def note(self, writers):
        """How many writes there were, and what they were answered."""
        self.count("writes " + ", ".join(f"{k}: {v}" for k, v in writers.counts().items() if not k.startswith("read")),
                   sum(op.outcome == linear.OK and op.kind != linear.READ for op in writers.history))

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        self.mail.await_accepted(AFTER, SECONDS)
        self.books = self.mail.finish().check()
        if self.mail_goes_on:
            self.count(f"transactions cut {self.books.lost_at or ''}".rstrip(), self.books.cut, 0)
            self.count("sessions refused or cut before mail", self.books.not_opened, 0)
        until(lambda: Seen(len(self.owners.now()) == 1, self.owners.now()), SECONDS, f"{self.title}: one node holds the VIP")
        if self.same:
            on = [n for n in self.lab.nodes if n.is_on()]
            until(lambda: Seen(not differences(on, self.same), differences(on, self.same)), SECONDS, f"{self.title}: all nodes agree")

    def missed(self):
        """Times that exceeded their bound by more than the error of the measurement, or that nobody can tell."""
        return [m for m in self.measured if m[3] and verdict(*m[1:])]

    def wrong(self):
        """What is no matter of time: a number beyond its bound, or something that lasted at all and must not have happened."""
        return [f"{what}: {value}, bound {bound}" for what, value, bound in self.counted if bound is not None and value > bound] \
            + [f"{what}: for {value * 1000:.0f} ms" for what, value, error, bound in self.measured if bound == 0 and value > error]

    def check(self):
        if self.missed() or self.wrong():
            raise LabError(str(self))
        return self

    def __str__(self):
        text = [f"{self.title}: " + (f"{len(self.books.accepted)} accepted, {len(self.books.lost)} lost, {len(self.books.twice)} twice, "
                                     f"{self.books.cut} cut, {self.books.not_opened} not opened" if self.books else "not finished")]
        for what, value, error, bound in self.measured:
            limit = "" if bound is None else f"   bound {bound * 1000:.0f} ms   {verdict(value, error, bound)}".rstrip()
            text.append(f"    {what:<50} {value * 1000:7.0f} ms ± {error * 1000:.0f}{limit}")
        for what, value, bound in self.counted:
            limit = "" if bound is None else f"   bound {bound}" + ("   MISSED" if value > bound else "")
            text.append(f"    {what:<50} {value:7}{limit}")
        return "\n".join(text)
