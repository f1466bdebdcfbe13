# SPDX-License-Identifier: Apache-2.0
"""Nodes of the product with a VIP and mail to it, while it changes who is a member.

One VIP, preferably at n2: n1 coordinates, as the lowest voter, and may lose its power without a session being cut. The last
machine is in no cluster. What a test leaves is made good for the next one, or all of it anew where that test failed.
"""
import contextlib
import json
import os
import threading

from tests.lab.cluster import product, services
from tests.lab.cluster.host import monotonic_ns
from tests.lab.cluster.lab import Lab
from tests.lab.cluster.mail import Backends, Mail
from tests.lab.cluster.observers import Owners, Prober
from tests.lab.cluster.waiting import LabError, Seen, until

SECONDS = 40
RATE = 20
BEFORE, AFTER = 10, 20  # messages
SERVER = "/api/v1/pools/mta/servers/sink1/weight"
JUDGES_BOUNDS = not os.environ.get("NO_BOUNDS")  # on a busy machine gaps are printed, not judged

# What happens to the VIP in a test. Whoever has it keeps it; or gives it away as planned; or loses its power; or all are gone.
STAYS, MOVES, DIES, GONE = "stays", "moves", "dies", "gone"
SLACK = 0.1  # what a machine may take for what takes no time
MOVE_SLACK = 0.05  # the same of a planned move


def is_alone(s):
    return s["cluster"] is None and s["state"] == "ACTIVE"


def votes(s):
    return {name: m["votes"] for name, m in s["members"].items()}


def staged(s):
    """How many have the file of the change under way beside the one in force."""
    c = s["change"]
    return sum(m.get("staged") == c["generation"] for m in s["members"].values())


def in_place(s, what="installed"):
    return sum(m.get(what) == s["generation"] for m in s["members"].values())


def status_or_none(node):
    try:
        return product.status(node)
    except (OSError, LabError):
        return None


def await_status(node, what, condition, seconds=SECONDS):
    """Returns the status that was as wanted."""
    def look():
        s = status_or_none(node)
        return Seen(s is not None and condition(s), s)
    return until(look, seconds, f"{node.name}: {what}").what


def verdict(asked, is_made):
    """What was answered must agree with what came of it: who is told that it is done may count on it, and so may who is told that
    it is not. 202, and a connection that ended without an answer, promise neither."""
    code = asked.answer and asked.answer[0]
    print(f"  answer {code or asked.error!r}, {'made' if is_made else 'not made'}")
    if asked.answer is None:
        right = isinstance(asked.error, ConnectionError)
    elif code == 200:
        right = is_made
    elif 400 <= code < 500 or code == 503:
        right = not is_made
    else:
        right = code == 202
    assert right, f"{'made' if is_made else 'not made'}, but the answer was {asked.answer or repr(asked.error)}"


class Asked:
    """A request whose answer may be lost with the node that was to give it."""

    def __init__(self, function, *args, **kw):
        self.answer = self.error = None
        self._thread = threading.Thread(target=self._run, args=(function, args, kw), daemon=True)
        self._thread.start()

    def _run(self, function, args, kw):
        try:
            self.answer = function(*args, **kw)
        except Exception as e:  # pylint: disable=broad-except
            self.error = e

    def wait(self, seconds=60):
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise LabError("a request has no answer")
        return self.answer


class Members:
    """`members` of the nodes are a cluster with one VIP, the others stand alone."""

    def __init__(self, build, home, nodes, members, networks=("cluster",)):
        self.build, self.home, self.count, self.formed, self.networks = build, home, nodes, members, networks
        self.lab = self.mail = None
        self.weight = 100
        self.runs = 0
        self.is_clean = False

    def _begin(self):
        self.lab = Lab(self.build, self.home, self.count).__enter__()
        self.backends = Backends(self.lab)
        self.vip = self.lab.vip()
        self.document = services.configuration([self.vip], self.backends.addresses)
        for node in self.lab.nodes:
            product.start(node, self.lab, self.document)
        for node in self.lab.nodes:
            node.await_ready()
        self.owners = Owners(self.lab, self.vip)
        if self.formed:
            product.form(self.lab.nodes[:self.formed], self.networks)
            self.add_vip()
        self.prober = Prober(self.lab, self.vip)

    def add_vip(self):
        vip = {"addresses": [f"{self.vip}/24"], "interface": "eth0", "failback": True, "nodes": ["n2", "n1", "n3"]}
        code, _, answer = self.nodes[0].call("PATCH", "/api/v1/config", {"vips": {"a": vip}}, {"If-Match": "*"})
        assert code == 200, answer

    def close(self):
        self.is_clean = False
        if self.lab is not None:
            lab, self.lab = self.lab, None
            lab.close()

    @property
    def nodes(self):
        return self.lab.nodes

    def named(self, *names):
        return [n for n in self.lab.nodes if n.name in names]

    @contextlib.contextmanager
    def test(self, vip=STAYS, cut=0):
        """A test: mail flows all along, none is lost, and at most `cut` transactions and connections end early. The VIP is at n2
        when it begins, never on two nodes, and away for no longer than `vip` says."""
        if not self.is_clean:
            self.close()
            self._begin()
        self.is_clean = False
        self.runs += 1
        until(lambda: Seen(self.owners.now() == ["n2"], (self.owners.now(), self.tell())), SECONDS, "n2 holds the VIP")
        self.mail = Mail(self.lab, self.backends, self.vip, RATE, f"m{self.runs}")
        self.mail.await_accepted(BEFORE)
        self.prober.await_answers()
        began, bound = monotonic_ns() / 1e9, self._bound(vip)
        try:
            yield self
            self.mail.await_accepted(AFTER)
        except Exception as e:
            raise LabError(f"{e}\n{self.tell()}") from e
        books = self.mail.finish().check()
        assert books.cut <= cut and books.not_opened <= cut, f"{books}\n{books.lost_at} {books.errors}\n{self.tell()}"
        self._judge_vip(vip, began, bound)
        assert self.lab.supervisor.trouble == []
        self.is_clean = True

    def _bound(self, vip):
        """For how long nobody may answer at the VIP, by what is in force now; None: as long as it takes."""
        answer = self.nodes[0].call("GET", "/api/v1/vips")[2]["vips"]["a"]
        advert = answer["advert"]
        skew = max((256 - n["priority"]) * advert / 256 for n in answer["nodes"].values() if n.get("priority"))
        return {STAYS: SLACK, MOVES: skew + MOVE_SLACK, DIES: 3 * advert + skew + SLACK, GONE: None}[vip]

    def _judge_vip(self, vip, began, bound):
        assert not self.owners.overlaps(began), f"{self.owners.intervals(began)}\n{self.tell()}"
        self.prober.await_answers()
        gap, absences, refused = self.prober.gap(since=began), self.owners.absences(began), self.prober.refused(began)
        told = f"VIP gap {gap}, bound {'none' if bound is None else f'{bound * 1000:.0f} ms'}; {refused} connections refused"
        moved = [(round(b - began, 3), h) for b, _, h in self.owners.intervals(began)[1:]]
        print(f"  {told}{f'; the VIP moved: {moved}' if moved else ''}")
        assert vip in (DIES, GONE) or not refused, f"{told}\n{self.tell()}"
        if JUDGES_BOUNDS:
            assert bound is None or gap.seconds - gap.error <= bound, f"{told}; {moved}\n{self.tell()}"
            assert vip != STAYS or not absences, f"nobody had the VIP: {absences}\n{self.tell()}"

    def tell(self):
        return "\n".join(f"== {n.name}: {json.dumps(status_or_none(n)) if n.is_on() else 'off'}\n{n.tail('postroadd', 3000)}\n"
                         f"-- ha\n{n.tail('postroad-ha', 1200)}" for n in self.nodes)

    # ---- what must hold ----

    def write_by(self, node):
        """A write through this node is taken, now or soon."""
        self.weight = self.weight + 1 if self.weight < 900 else 100
        until(lambda: Seen((r := node.call("PUT", SERVER, {"weight": self.weight}, timeout=15))[0] == 200, r), SECONDS,
              f"{node.name} takes a write")

    def await_one(self, names, also=lambda s: True, key=None):
        """These nodes are the members: each one has the same table, no change is under way, corosync has read the newest file,
        and writes of each are seen on all."""
        wanted = {name: 1 for name in names}

        def is_whole(s):
            return (s["cluster"] is not None and s["state"] == "ACTIVE" and s["change"] is None and votes(s) == wanted and also(s)
                    and all(m["present"] and m["synced"] for m in s["members"].values())
                    and in_place(s) == in_place(s, "active") == len(names))
        for node in self.named(*names):
            await_status(node, f"is one of {names}", is_whole)
        tables = until(lambda: self._alike(names), SECONDS, "equal tables")
        if key is not None:
            assert tables.what == key
        for node in self.named(*names):
            self.write_by(node)
            for other in self.named(*names):
                until(lambda n=other: Seen((w := weight_of(n)) == self.weight, w), SECONDS, f"{other.name} knows {self.weight}")

    def _alike(self, names):
        tables = [{"generation": s["generation"], "members": {n: (m["id"], m["state"], m["votes"], m["tie_breaker"], m["listen"])
                                                             for n, m in s["members"].items()}}
                  for s in map(product.status, self.named(*names))]
        return Seen(all(t == tables[0] for t in tables), tables)

    def await_alone(self, name):
        """Out of every cluster, with no key of one."""
        node = self.named(name)[0]
        await_status(node, "stands alone", is_alone)
        until(lambda: Seen(not (f := self.secrets(node)), f), SECONDS, f"{name} has forgotten its keys")

    @staticmethod
    def secrets(node):
        trust = node.path("/var/lib/postroad/trust")
        return sorted(p.name for p in trust.glob("*") if p.suffix == ".key" or p.name.startswith("corosync")) if trust.is_dir() else []

    # ---- requests ----

    def token(self, by, **more):
        return product.token(self.named(by)[0], **more)

    def ask_join(self, node, token, **more):
        return node.call("POST", "/api/v1/cluster/join", {"token": token, "links": product.links_of(node, self.networks), **more},
                         timeout=60)

    def wipe(self, name):
        """The machine is set up anew: nothing of what it was is left, nor comes back with a loss of power."""
        node = self.named(name)[0]
        node.stop("postroadd")
        node.stop("postroad-ha")
        node.run(node.shimmed(["sh", "-c", "rm -rf /var/lib/postroad/* /etc/postroad/corosync && sync /var/lib/postroad /etc/postroad"]))

    def set_up(self, name):
        node = self.named(name)[0]
        product.start(node, self.lab, self.document)
        node.await_ready()


def weight_of(node):
    return node.call("GET", "/api/v1/pools/mta")[2]["servers"]["sink1"]["weight"]
