# SPDX-License-Identifier: Apache-2.0
"""The product itself on a node: postroad-ha with corosync below it, postroadd, and a cluster of several by its own commands."""
import json

from tests.lab.cluster import services
from tests.lab.cluster.host import children_of, comm
from tests.lab.cluster.waiting import LabError, Seen, until

SECONDS = 60


def start_ha(node, lab, watchdog=None):
    """postroad-ha, which runs corosync and keepalived as its children."""
    node.supervise("postroad-ha", node.shimmed([lab.bin("postroad-ha"), "--run-dir", "/run/postroad", "--state-dir", "/run/postroad-ha",
                                                "--corosync-dir", "/etc/postroad/corosync", "--user", "root", "--run-corosync"]),
                   watchdog=watchdog)


def start(node, lab, document, ha_watchdog=None, **more):
    """Both programs of a node. Virtual addresses are the first one's alone, until the others join and have its configuration:
    each would hold them in a cluster of itself, and who asks the network for them would be told that they are taken."""
    if node is not lab.nodes[0]:
        document = {key: value for key, value in document.items() if key != "vips"}
    start_ha(node, lab, ha_watchdog)
    services.start_postroadd(node, lab.bin("postroadd"), document, **more)


def status(node):
    """The cluster as this node sees it."""
    return node.call("GET", "/api/v1/cluster/members")[2]


def ask(node, method, path, body=None, wanted=200):
    code, _, answer = node.call(method, f"/api/v1/cluster/{path}", body, timeout=40)
    if code != wanted:
        raise LabError(f"{node.name}: {method} {path}: {code} {answer}\n{node.tail('postroadd')}")
    return answer


def links_of(node, networks):
    return [node.addresses[n] for n in networks]


def init(node, networks=("cluster",), **more):
    ask(node, "POST", "init", {"links": links_of(node, networks), **more})
    await_active(node)


def token(member, **more):
    return ask(member, "POST", "tokens", more)["token"]


def join(node, member, networks=("cluster",), **more):
    """Returns when the node votes."""
    opened = token(member, **{k: v for k, v in more.items() if k in ("voter_only", "replace")})
    ask(node, "POST", "join", {"token": opened, "links": links_of(node, networks),
                               **{k: v for k, v in more.items() if k in ("voter_only", "force")}})
    await_active(node, lambda s: s["members"][node.name]["votes"] == 1 and s["change"] is None)


def await_active(node, also=lambda s: True, seconds=SECONDS):
    def look():
        s = status(node)
        return Seen(s["state"] == "ACTIVE" and also(s), json.dumps(s))
    until(look, seconds, f"{node.name} is ACTIVE as wanted")


def form(nodes, networks=("cluster",)):
    """The first one founds a cluster, the others join."""
    init(nodes[0], networks)
    for node in nodes[1:]:
        join(node, nodes[0], networks)
    for node in nodes:
        await_active(node, lambda s: sum(m["votes"] for m in s["members"].values()) == len(nodes))
    for node in nodes:
        await_kept(node)


def child(node, name):
    """The process of this name below postroad-ha, None if there is none."""
    return next((p for p in children_of(node.pid_of("postroad-ha")) if comm(p) == name), None)


def await_kept(node):
    """The newest table of members is on this node's disk. It is written by the thread that answers: on a disk made to hang before
    that, reads would have no answer either."""
    state_dir = json.loads(node.path("/etc/postroad/node.json").read_bytes())["state_dir"]
    path = node.path(f"{state_dir}/trust/table")

    def look():
        table, wanted = path.read_bytes(), status(node)["generation"]
        kept = json.loads(table[table.index(b"{\""):])
        return Seen(kept["generation"] == wanted and "change" not in kept, kept)
    until(look, SECONDS, f"{node.name} keeps the table")
