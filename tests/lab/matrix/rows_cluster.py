# SPDX-License-Identifier: Apache-2.0
"""Rows about nodes that do not hear each other, and about which of them may write: 10, 12, 13, 17, 19 and 21."""
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

from tests.lab.cluster import product
from tests.lab.cluster.waiting import LabError, Seen, until
from tests.lab.matrix.bench import SECONDS, SLACK, STATUS, asked, now
from tests.lab.matrix.frame import row
from tests.lab.matrix.said import expect, quiet, warned

RETRY_SECONDS = 15  # an address that is taken is tried again at least so often
SYNC_MS = 1000  # a disk slow enough to be met in SYNC
START_SECONDS = 1.5  # until the programs of a machine that is switched on run, and keepalived once it has its table
ALONE_SECONDS = 10  # a node that starts waits so long for the others' state
PROBE_SECONDS = 0.75  # the network is asked three times
WELL_SECONDS = 2  # so long a node must be without a fault before it may hold a VIP
VIEWS_SECONDS = 60  # in so much time views are counted for the alarm


def says(node, state):
    s = product.status(node)
    return Seen(s["state"] == state, json.dumps(s))


def is_without(node, gone):
    """Writes, in a view that the one who is gone is not in."""
    s = product.status(node)
    return Seen(s["state"] == "ACTIVE" and s["corosync"]["members"] == len(s["members"]) - 1 and not s["members"][gone.name]["present"],
                json.dumps(s))


def weight(node):
    return asked(node, "/api/v1/pools/mta")["servers"]["sink1"]["weight"]


def await_weight(nodes, value):
    for node in nodes:
        until(lambda n=node: Seen((w := weight(n)) == value, w), SECONDS, f"{node.name} knows the weight {value}")


def vip_stays(bench, row, owner):
    """Nobody else has had the VIP since the fault, and its owner never was without it."""
    changes = [c for c in bench.owners.intervals(row.began) if c[2] != (owner.name,)]
    expect(not changes and bench.owners.now() == [owner.name] and not bench.owners.absences(row.began), f"the VIP moved: {changes}")


# ---- three nodes ----


@row("10", "the cluster's network is cut for one of three, the LAN is up", mail_goes_on=True)
def cluster_net_cut(bench, row):
    alone = bench.owner()
    rest, lost = bench.others(alone), bench.member_lost()
    row.fault()
    bench.lab.lan.silence(alone.name, "cluster")
    row.duration("the one says MINORITY", lambda: says(alone, "MINORITY"), lost, since=row.began)
    for node in rest:
        row.duration(f"{node.name} goes on with the other", lambda n=node: is_without(n, alone), lost, since=row.began)
    expect((code := bench.write(alone, 10)) == 503, f"a write without quorum is answered {code}")
    local = alone.call("PUT", "/api/v1/pools/mta/servers/sink1/state?scope=local", {"admin": "drain"})[0]
    expect(local == 200 and asked(alone, "/api/v1/config"), f"a local word is answered {local}")
    bench.await_written(rest[0], 110)
    await_weight(rest, 110)
    vip_stays(bench, row, alone)
    bench.lab.lan.heal()
    healed = now()
    row.duration("the one writes again after the heal", lambda: Seen((c := bench.write(alone, 111)) == 200, c), since=healed)
    await_weight(bench.nodes, 111)
    until(lambda: Seen((s := asked(alone, "/api/v1/pools/mta")["servers"]["sink1"])["admin"] == "ready", s), SECONDS, "the local word is over")
    vip_stays(bench, row, alone)


@row("12", "one-way loss between two of three", mail_goes_on=True)
def one_way_loss(bench, row):
    owner = bench.owner()
    a, b = owner, bench.heir(owner)
    bound = 2 * bench.member_lost() + 1
    row.fault()
    bench.lab.lan.one_way(a.name, b.name)

    def named():
        seen = [warned(n, "views", f"{x.name} to {y.name}") for n in bench.nodes for x, y in ((a, b), (b, a))]
        return next((s for s in seen if s), seen[0])
    row.duration("an alarm names the link", named, VIEWS_SECONDS, since=row.began, limit=2 * VIEWS_SECONDS)
    vip_stays(bench, row, owner)
    bench.lab.lan.heal()
    healed = now()
    for i, node in enumerate(bench.nodes):
        row.duration(f"{node.name} writes after the heal", lambda n=node, v=120 + i: Seen((c := bench.write(n, v)) == 200, c), bound,
                     since=healed)
    vip_stays(bench, row, owner)


# ---- two nodes ----


def sides(bench):
    """(the tie-breaker, the other one)."""
    members = product.status(bench.nodes[0])["members"]
    tie = next(n for n in bench.nodes if members[n.name]["tie_breaker"])
    return tie, bench.others(tie)[0]


def is_single_copy(node):
    s = product.status(node)
    return Seen(s["state"] == "ACTIVE" and s["single_copy"], json.dumps(s))


def is_lost_to(node, name):
    s = product.status(node)
    return Seen(s["state"] == "MINORITY" and not s["members"][name]["present"], json.dumps(s))


@row("13", "of two, the other one dies", nodes=2)
def two_other_dies(bench, row):
    tie, other = sides(bench)
    lost, gap = bench.member_lost(), bench.master_down(tie) + SLACK
    row.fault()
    other.power_off()
    row.gap("VIP gap", gap)
    row.duration("the tie-breaker says single copy", lambda: is_single_copy(tie), lost, since=row.began)
    bench.await_written(tie, 130)
    other.power_on()
    row.duration("both are ACTIVE again", lambda: says(other, "ACTIVE"))
    await_weight(bench.nodes, 130)


@row("13", "of two, the tie-breaker dies", nodes=2)
def two_tie_breaker_dies(bench, row):
    tie, other = sides(bench)
    lost, gap = bench.member_lost(), bench.master_down(other) + SLACK
    row.fault()
    tie.power_off()
    row.gap("VIP gap", gap)
    row.duration("the other says MINORITY", lambda: says(other, "MINORITY"), lost, since=row.began)
    expect((code := bench.write(other, 131)) == 503, f"a write without quorum is answered {code}")
    row.mail.await_accepted(20)
    tie.power_on()
    row.duration("the other writes again", lambda: Seen((c := bench.write(other, 132)) == 200, c))
    await_weight(bench.nodes, 132)


@row("13", "of two, the link between them is cut", nodes=2, mail_goes_on=True)
def two_link_cut(bench, row):
    tie, other = sides(bench)
    owner, lost = bench.owner(), bench.member_lost()
    row.fault()
    bench.lab.lan.silence(other.name, "cluster")
    row.duration("the tie-breaker says single copy", lambda: is_single_copy(tie), lost, since=row.began)
    row.duration("the other says MINORITY", lambda: says(other, "MINORITY"), lost, since=row.began)
    bench.await_written(tie, 133)
    expect((code := bench.write(other, 134)) == 503, f"a write without quorum is answered {code}")
    vip_stays(bench, row, owner)
    bench.lab.lan.heal()
    row.duration("both write again", lambda: Seen((c := bench.write(other, 135)) == 200, c))
    await_weight(bench.nodes, 135)
    vip_stays(bench, row, owner)


@row("13", "of two, both die, and the tie-breaker returns first", nodes=2)
def two_tie_breaker_returns(bench, row):
    tie, other = sides(bench)
    bench.await_written(tie, 136)
    bound = alone_bound(bench, tie)
    both_off(bench)
    began = now()
    tie.power_on()
    serves(bench, row, tie, other, bound, began)
    row.duration("it writes", lambda: Seen((c := bench.write(tie, 137)) == 200, c), since=began)
    other.power_on()
    row.duration("the other is ACTIVE", lambda: says(other, "ACTIVE"))
    await_weight(bench.nodes, 137)


@row("13", "of two, both die, the other returns first, and is given the quorum", nodes=2, fresh=True, judges_writes=False)
def two_other_returns_forced(bench, row):
    tie, other = sides(bench)
    other.power_off()
    until(lambda: is_single_copy(tie), SECONDS, "the tie-breaker is alone")
    bench.await_written(tie, 138)  # a write that the other one never saw
    for _ in range(5):  # and tables of nodes, at positions that the other one's will not reach soon
        product.ask(tie, "POST", "tokens", {})
    bound = alone_bound(bench, tie)
    tie.power_off()
    began = now()
    other.power_on()
    serves(bench, row, other, tie, bound, began)
    row.duration("it says MINORITY", lambda: is_lost_to(other, tie.name), since=began)
    expect((code := bench.write(other, 139)) == 503 and weight(other) != 138, f"a write without quorum is answered {code}")
    product.ask(other, "POST", "force-quorum", {}, wanted=202)
    bench.await_written(other, 140)
    tie.power_on()
    row.duration("both vote again", lambda: both_vote(bench))
    await_weight(bench.nodes, 140)
    before = product.status(other)["generation"]
    product.ask(other, "POST", "rotate-keys")
    row.duration("the table goes on", lambda: goes_on_from(bench, before))
    lost = product.ask(tie, "GET", "lost")
    saved = [json.loads(line) for line in tie.path(lost["file"]).read_text().splitlines()]
    expect(any(e["kind"] == "runtime" and "138" in e["comment"] for e in lost["entries"]), f"what was lost is listed: {lost}")
    expect(any(e["kind"] == "runtime" and "138" in json.dumps(e["document"]) for e in saved), f"what was lost is kept: {saved}")
    expect(warned(tie, "lost"), "that something was lost is an alarm")
    product.ask(tie, "DELETE", "lost")
    expect(quiet(tie, "lost"), "and it is over when it was seen to")


def alone_bound(bench, node):
    """Seconds until one that starts alone has the VIP: nobody is heard, the network is asked, it is well, and keepalived waits in vain."""
    return START_SECONDS + ALONE_SECONDS + PROBE_SECONDS + WELL_SECONDS + bench.master_down(node) + SLACK


def serves(bench, row, node, gone, bound, since):
    """Without a peer: the VIP answers from here, and mail is accepted."""
    row.taken_over("it serves mail", gone, bound, since)
    expect(bench.owners.now() == [node.name], f"{node.name} has the VIP, not {bench.owners.now()}")
    row.mail.await_accepted(20)


def both_off(bench):
    for node in bench.nodes:
        node.power_off()


def goes_on_from(bench, generation):
    seen = [product.status(n) for n in bench.nodes]
    return Seen(all(s["generation"] > generation and s["change"] is None for s in seen), [(s["generation"], s["change"]) for s in seen])


def both_vote(bench):
    seen = [product.status(n) for n in bench.nodes]
    return Seen(all(s["state"] == "ACTIVE" and s["change"] is None and sum(m["votes"] for m in s["members"].values()) == 2 for s in seen),
                json.dumps(seen))


# ---- clocks ----


@row("17", "a clock that is stepped, and one that is off", mail_goes_on=True)
def clock_off(bench, row):
    owner = bench.owner()
    watcher = bench.heir(owner)
    row.fault()
    owner.clock_step(30)
    row.duration("the alarm of 30 s", lambda: warned(watcher, f"clock/{owner.name}", "ahead"), since=row.began)
    row.mail.await_accepted(20)
    bench.await_written(owner, 170)
    await_weight(bench.nodes, 170)
    owner.clock_step(-29)
    stepped = now()
    row.duration("the alarm is over at 1 s", lambda: quiet(watcher, f"clock/{owner.name}"), since=stepped)
    owner.clock_step(-31)
    stepped = now()
    row.duration("the alarm of -30 s", lambda: warned(watcher, f"clock/{owner.name}", "behind"), since=stepped)
    bench.await_written(watcher, 171)
    await_weight(bench.nodes, 171)
    owner.clock_step(30)
    row.duration("it is over", lambda: quiet(watcher, f"clock/{owner.name}"))
    vip_stays(bench, row, owner)
    row.gap("VIP gap", bench.skew(watcher))


# ---- configurations ----

CERTIFICATE, KEY = "/run/tls/lab.crt", "/run/tls/lab.key"
OCCUPY = """import socket, time
s = socket.socket()
s.bind(("{}", {}))
s.listen()
time.sleep(3600)
"""


def patch(node, change):
    code, _, answer = node.call("PATCH", "/api/v1/config", change, {"If-Match": "*"}, timeout=15)
    return code, answer


def await_revision(nodes, revision):
    for node in nodes:
        until(lambda n=node: Seen((r := asked(n, STATUS)["revision"]) >= revision, r), SECONDS, f"{node.name} has revision {revision}")


def listens(node, port):
    """Whether a client at the node's own address is greeted."""
    with node.anchor_or_fail().socket() as s:
        s.settimeout(5)
        try:
            s.connect((node.addresses["lan"], port))
            return s.recv(100).startswith(b"220 ")
        except OSError:
            return False


@row("19", "a configuration that is no good is refused before it is proposed", mail_goes_on=True)
def bad_configuration(bench, row):
    for node in bench.nodes:
        for change in ({"pools": {"mta": {"balance": "by-the-moon"}}}, {"listeners": {"vip": {"pool": "none"}}},
                       {"listeners": {"vip": {"tls": {"mode": "implicit", "certificates": ["none"]}}}}):
            code, answer = patch(node, change)
            expect(code == 422 and answer["errors"], f"{change} is answered {code} {answer}")
    row.mail.await_accepted(20)


@row("19", "a certificate is missing on one node", mail_goes_on=True)
def certificate_missing(bench, row):
    writer, other, lacking = bench.nodes
    pair(bench, (writer, other))
    extra = {"bind": ["0.0.0.0:2525"], "mode": "smtp", "direction": "outbound", "hostname": "mx.lab.test", "pool": "mta",
             "allow": ["10.0.0.0/8"], "tls": {"mode": "starttls", "certificates": ["lab"]}}
    code, answer = patch(writer, {"certificates": {"lab": {"certificate_file": CERTIFICATE, "key_file": KEY}}, "listeners": {"extra": extra},
                                  "domain_sets": {"beside": {"beside.lab.test": True}}})
    expect(code == 200, f"{code} {answer}")
    await_revision(bench.nodes, answer["revision"])
    proposed = now()
    row.duration("the others say which node lacks it", lambda: warned(writer, f"config_part/{lacking.name}", "certificate"), since=proposed)
    expect(asked(lacking, "/api/v1/config/domain_sets/beside"), "all else is in force there")
    expect(any(CERTIFICATE in json.dumps(w) for w in asked(lacking, STATUS)["warnings"]), "it says so itself")
    expect(listens(writer, 2525) and not listens(lacking, 2525), "who has the certificate listens")
    row.mail.await_accepted(20)
    pair(bench, (lacking,))
    row.duration("and it listens when the file is there", lambda: listens(lacking, 2525))
    row.duration("which ends the alarm", lambda: quiet(writer, f"config_part/{lacking.name}"))
    take_back(bench, writer, {"listeners": {"extra": None}, "certificates": {"lab": None}, "domain_sets": {"beside": None}})


def pair(bench, nodes):
    """The same certificate and key on these nodes."""
    home = bench.lab.home
    if not (home / "lab.crt").exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                        "/CN=mx.lab.test", "-keyout", home / "lab.key", "-out", home / "lab.crt"], check=True, capture_output=True)
    for node in nodes:
        node.write(KEY, (home / "lab.key").read_bytes(), 0o600)
        node.write(CERTIFICATE, (home / "lab.crt").read_bytes())


def take_back(bench, node, change):
    code, answer = patch(node, change)
    expect(code == 200, f"{code} {answer}")
    await_revision(bench.nodes, answer["revision"])


@row("19", "a port is in use on one node", mail_goes_on=True)
def port_in_use(bench, row):
    writer, _, lacking = bench.nodes
    extra = {"bind": ["0.0.0.0:2525"], "mode": "smtp", "direction": "outbound", "hostname": "mx.lab.test", "pool": "mta",
             "allow": ["10.0.0.0/8"]}
    code, answer = patch(writer, {"listeners": {"extra": extra}})
    expect(code == 200, f"{code} {answer}")
    until(lambda: all(listens(n, 2525) for n in bench.nodes), SECONDS, "all listen")
    lacking.start("squatter", ["/usr/bin/python3", "-c", OCCUPY.format("0.0.0.0", 2526)])
    until(lambda: not can_bind(lacking, 2526), SECONDS, "the port is taken")
    code, answer = patch(writer, {"listeners": {"extra": {"bind": ["0.0.0.0:2526"]}}, "domain_sets": {"beside": {"beside.lab.test": True}}})
    expect(code == 200, f"{code} {answer}")
    proposed = now()
    await_revision(bench.nodes, answer["revision"])
    row.duration("it says so", lambda: warned(lacking, "listen", "2526"), since=proposed)
    row.duration("the others say which node lacks it", lambda: warned(writer, f"config_part/{lacking.name}", "taken"), since=proposed)
    expect(listens(writer, 2526) and not listens(writer, 2525), "the others have gone to the new one")
    expect(listens(lacking, 2525), "it stays at the address it had")
    expect(asked(lacking, "/api/v1/config/domain_sets/beside"), "all else is in force there")
    row.mail.await_accepted(20)
    lacking.stop("squatter")
    freed = now()
    row.duration("it listens once the port is free", lambda: listens(lacking, 2526), RETRY_SECONDS, since=freed)
    expect(not listens(lacking, 2525), "and no longer at the old one")
    row.duration("which ends the alarms", lambda: quiet(lacking, "listen") and quiet(writer, f"config_part/{lacking.name}"))
    take_back(bench, writer, {"listeners": {"extra": None}, "domain_sets": {"beside": None}})


def can_bind(node, port):
    with node.anchor_or_fail().socket() as s:
        try:
            s.bind(("0.0.0.0", port))
            return True
        except OSError:
            return False


# ---- who others depend on ----


def await_donor(bench, fresh):
    """One is started again, and the log is being brought to it: somebody is chosen to give it, and no quorum has it on disk yet, as
    all disks are slow. Returns who gives it."""
    fresh.power_off()
    other = bench.on()[0]
    bench.await_written(other, 211)
    for node in bench.nodes:
        node.slow_disk(SYNC_MS)
    fresh.power_on()
    given = until(lambda: Seen((s := product.status(other))["state"] == "SYNC" and s["donor"] is not None, s), SECONDS,
                  f"{fresh.name} gets the log")
    return bench.node(given.what["donor"])


@row("21", "the donor dies while another gets the log")
def donor_dies_in_sync(bench, row):
    """A quorum that has the log needs two writes of each disk in a row, the promise and the log with its epoch; the first of those
    who wait to write then needs one. A write that is asked for meanwhile also waits for those before it."""
    fresh = bench.nodes[-1]
    lost, sync = bench.member_lost(), SYNC_MS / 1000
    donor = await_donor(bench, fresh)
    third = next(n for n in bench.others(donor) if n is not fresh)
    donor.power_off()
    died = now()
    with ThreadPoolExecutor() as pool:
        written = pool.submit(lambda: row.duration("one that was asked for at once is made", lambda: Seen(
            (c := bench.write(third, 212)) == 200, c), since=died))
        again = None

        def in_sync_again():
            nonlocal again
            again = product.status(third)
            return Seen(again["state"] == "ACTIVE" and again["donor"] not in (None, donor.name), again)
        row.duration("a quorum has the log", in_sync_again, lost + 2 * sync, since=died)
        row.duration("writes again", lambda: Seen((s := product.status(third))["position"] > again["position"], s), lost + 3 * sync, since=died)
        written.result()
    for node in bench.nodes:
        node.slow_disk(0)
    row.duration("who got it is ACTIVE", lambda: says(fresh, "ACTIVE"), since=died)
    await_weight([fresh, third], 212)


@row("21", "the coordinator dies in a change of keys")
def coordinator_dies(bench, row):
    coordinator = bench.node(product.status(bench.nodes[0])["coordinator"])
    rest = bench.others(coordinator)
    bound, generation = bench.member_lost() + 1, product.status(coordinator)["generation"]
    product.ask(rest[0], "POST", "rotate-keys")
    until(lambda: Seen((c := product.status(rest[0])["change"]) is not None, c), SECONDS, "a change is under way")
    coordinator.power_off(torn=True)
    died = now()
    row.duration("writes again", lambda: Seen((c := bench.write(rest[0], 213)) == 200, c), bound, since=died)
    row.duration("another one coordinates", lambda: Seen((s := product.status(rest[0]))["coordinator"] in [n.name for n in rest], s), since=died)
    coordinator.power_on()
    for node in bench.nodes:
        row.duration(f"{node.name} has the new key", lambda n=node: Seen(
            (s := product.status(n))["generation"] > generation and s["change"] is None and s["state"] == "ACTIVE", s), limit=SECONDS)
