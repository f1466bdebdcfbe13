# SPDX-License-Identifier: Apache-2.0
"""Row 22: versions that differ. The next version is the same one but for a feature level more (`make lab-tools`)."""
import json

from tests.lab.cluster import product
from tests.lab.cluster.mail import Mail
from tests.lab.cluster.waiting import Seen, until
from tests.lab.matrix.bench import SECONDS, STATUS, asked, now
from tests.lab.matrix.frame import row
from tests.lab.matrix.said import expect, warned

DRAIN_SECONDS = 60
MAIL_RATE = 20
NODE_FILE = "/etc/postroad/node.json"


def level(node):
    return product.status(node)["level"]


def change_version(bench, node, program):
    """Stops postroadd, as a package does, and starts this one."""
    service = node.service("postroadd")
    node.stop("postroadd", timeout=30)
    service.argv = node.shimmed([program, "-c", NODE_FILE])
    with bench.lab.supervisor.lock:
        service.start()
        bench.lab.supervisor.services.append(service)


def this(bench):
    return bench.lab.bin("postroadd")


def following(bench):
    return bench.lab.bin("postroadd").parent.parent / "next/postroadd"


def upgrade(bench, row, node, program):
    cli = [str(bench.lab.bin("postroad")), "--socket", "/run/postroad/admin.sock"]
    began = now()
    node.run([*cli, "node", "drain", node.name, "--yes", "--wait", "--timeout", DRAIN_SECONDS], timeout=2 * DRAIN_SECONDS)
    row.duration(f"{node.name} is drained", lambda: asked(node, STATUS)["safe_to_stop"], DRAIN_SECONDS, since=began)
    change_version(bench, node, program)
    until(lambda: answers(node), SECONDS, f"{node.name} answers")
    product.await_active(node)
    node.run([*cli, "node", "ready", node.name, "--yes"])
    node.await_ready(SECONDS)


def answers(node):
    try:
        return node.call("GET", "/healthz")[0] == 200
    except OSError:
        return False


def stands_back(bench, node):
    said = bench.vip(node)
    return Seen("somebody has the address" in json.dumps(said), said)


@row("22", "an upgrade, node by node, and a version that is taken back", fresh=True)
def rolling_upgrade(bench, row):
    owner = bench.owner()
    order = [*bench.others(owner), owner]
    mail = Mail(bench.lab, bench.backends, bench.owners.address, MAIL_RATE, "upgrade")
    for node in order:
        expect(all(level(n) == 1 for n in bench.nodes), "no level is spoken that one does not speak")
        upgrade(bench, row, node, following(bench))
        bench.await_well()
    upgraded = now()
    for node in bench.nodes:
        row.duration(f"{node.name} has the new level", lambda n=node: Seen((v := level(n)) == 2, v), since=upgraded)
    books = mail.finish().check()
    row.count("transactions cut by the upgrade", books.cut, 0)
    row.count("connections refused by the upgrade", books.not_opened, 0)
    # back to the version before, at run time
    owner = bench.owner()
    old, other = bench.others(owner)
    change_version(bench, old, this(bench))
    row.duration("one that is too old says so", lambda: warned(old, "cluster", "feature level 2"))
    bench.await_written(other, 221)
    row.mail.await_accepted(20)
    expect(bench.write(old, 222) == 503, "and takes no write")
    # It hears nobody, and must not think that nobody is there.
    row.duration("it finds the VIP taken", lambda: stands_back(bench, old), limit=SECONDS)
    expect(bench.owners.now() == [owner.name] and not bench.owners.overlaps(row.began), "the VIP was on one node all the time")
    change_version(bench, old, following(bench))
    row.duration("it is a member again with the right one", lambda: Seen((s := product.status(old))["state"] == "ACTIVE", s))


@row("22", "a version that is too old wants to join", fresh=True, judges_writes=False)
def too_old_joins(bench, row):
    """A node that stands alone takes writes of its own, so their history is not judged."""
    old, other = bench.others(bench.owner())
    for node in bench.nodes:
        change_version(bench, node, following(bench))
        until(lambda n=node: answers(n), SECONDS, f"{node.name} answers")
        product.await_active(node)
    for node in bench.nodes:
        until(lambda n=node: Seen((v := level(n)) == 2, v), SECONDS, f"{node.name} has the new level")
    product.ask(old, "POST", "leave", {})
    until(lambda: Seen((s := product.status(old))["cluster"] is None, s), SECONDS, f"{old.name} stands alone")
    until(lambda: Seen((s := product.status(other))["change"] is None and old.name not in s["members"] and all(
        m["present"] for m in s["members"].values()), s), SECONDS, "the others are two")
    change_version(bench, old, this(bench))
    until(lambda: answers(old), SECONDS, f"{old.name} answers")
    token = product.token(other)
    code, _, answer = old.call("POST", "/api/v1/cluster/join", {"token": token, "links": product.links_of(old, bench.networks)}, timeout=40)
    expect(code == 409 and "speaks level 2" in json.dumps(answer), f"a join of one that is too old is answered {code} {answer}")
    change_version(bench, old, following(bench))
    until(lambda: answers(old), SECONDS, f"{old.name} answers")
    product.join(old, other, bench.networks)
