# SPDX-License-Identifier: Apache-2.0
"""Nodes become a cluster, and stay one: forming, changes of who is a member, and what must hold while a part of it is gone.
Real corosync, run by postroad-ha."""
import json
import os
import pathlib
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import product, services  # noqa: E402
from tests.lab.cluster.lab import TOOLS, Lab  # noqa: E402
from tests.lab.cluster.mail import Backends, Mail  # noqa: E402
from tests.lab.cluster.waiting import Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SECONDS = 40
NEEDED = (*TOOLS, "bin/postroad-ha")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all((BUILD / f"peers/{p}/.unpacked").exists() for p in ("corosync", "keepalived"))
    or not all((BUILD / t).exists() for t in NEEDED), reason="needs root, `make peers` and `make bench-tools`")


def put_weight(node, weight):
    return node.call("PUT", "/api/v1/pools/mta/servers/sink1/weight", {"weight": weight}, timeout=15)[0]


def weight_of(node):
    return node.call("GET", "/api/v1/pools/mta")[2]["servers"]["sink1"]["weight"]


def admin_of(node):
    return node.call("GET", "/api/v1/pools/mta")[2]["servers"]["sink1"]["admin"]


def await_weight(nodes, weight):
    for node in nodes:
        until(lambda n=node: Seen(weight_of(n) == weight, weight_of(n)), SECONDS, f"{node.name} knows the weight {weight}")


def await_written(node, weight):
    until(lambda: Seen((code := put_weight(node, weight)) == 200, code), SECONDS, f"{node.name} takes a write")


def await_status(node, what, condition, seconds=SECONDS):
    def look():
        try:
            s = product.status(node)
        except OSError as e:
            return Seen(False, repr(e))
        return Seen(condition(s), json.dumps(s))
    until(look, seconds, f"{node.name}: {what}")


def is_alone(s):
    return s["cluster"] is None and s["state"] == "ACTIVE"


def votes(s):
    return {name: m["votes"] for name, m in s["members"].items()}


class Bench:
    def __init__(self, lab, formed):
        self.lab, self.nodes = lab, lab.nodes
        self.backends = Backends(lab)
        document = services.configuration([lab.vip()], self.backends.addresses)
        for node in self.nodes:
            product.start(node, lab, document)
        for node in self.nodes:
            node.await_ready()
        if formed:
            product.form(self.nodes[:formed])

    def tell(self):
        return "\n".join(f"== {n.name}\n{n.tail('postroadd', 3000)}\n-- ha\n{n.tail('postroad-ha', 1500)}" for n in self.nodes)


@pytest.fixture
def bench(request, tmp_path):
    nodes, formed = request.param
    with Lab(BUILD, BUILD / "lab/forming" / request.node.name.partition("[")[0][:40], nodes) as lab:
        yield Bench(lab, formed)
        assert lab.supervisor.trouble == []


unformed = pytest.mark.parametrize("bench", [(2, 0)], indirect=True)
three = pytest.mark.parametrize("bench", [(3, 3)], indirect=True)
two = pytest.mark.parametrize("bench", [(2, 2)], indirect=True)


@pytest.mark.long
@unformed
def test_mail_flows_while_a_node_founds_a_cluster_and_another_joins(bench):
    one, lab = bench.nodes[0], bench.lab
    one.run(["ip", "address", "add", f"{lab.vip()}/24", "dev", "eth0"])
    mail = Mail(lab, bench.backends, lab.vip(), rate=50)
    mail.await_accepted(50)
    product.form(bench.nodes)
    mail.await_accepted(50)
    books = mail.finish().check()
    assert books.cut == 0 and books.not_opened == 0 and books.retries == 0, books


@pytest.mark.long
@three
def test_three_nodes_are_one(bench):
    one, two_, three_ = bench.nodes
    for weight, node in enumerate(bench.nodes, 11):
        assert put_weight(node, weight) == 200
        await_weight(bench.nodes, weight)
    seen = [product.status(n) for n in bench.nodes]
    assert len({s["position"] for s in seen}) == 1 and {s["generation"] for s in seen} == {3}
    # a process that dies
    two_.run(["pkill", "-KILL", "-x", "corosync"])
    await_status(two_, "is not in the view", lambda s: s["state"] != "ACTIVE")
    await_written(one, 21)
    await_weight([one, three_], 21)
    await_status(two_, "is back", lambda s: s["state"] == "ACTIVE")
    await_weight([two_], 21)
    # the daemon itself
    two_.kill("postroadd")
    await_status(two_, "is a member again", lambda s: s["state"] == "ACTIVE")
    await_written(two_, 23)
    await_weight(bench.nodes, 23)
    # a machine without power
    three_.power_off(torn=True)
    await_status(one, "misses n3", lambda s: not s["members"]["n3"]["present"])
    await_written(one, 22)
    three_.power_on()
    await_status(three_, "is back", lambda s: s["state"] == "ACTIVE")
    await_weight(bench.nodes, 22)


@pytest.mark.long
@three
def test_a_node_leaves_and_comes_again(bench):
    one, two_, three_ = bench.nodes
    product.ask(three_, "POST", "leave")
    await_status(three_, "stands alone", is_alone)
    await_status(one, "has two members", lambda s: votes(s) == {"n1": 1, "n2": 1} and s["change"] is None)
    assert put_weight(one, 31) == 200 and not three_.path("/var/lib/postroad/trust/node.key").exists()
    # A member that has not been heard in the new ring yet counts as absent, and nobody joins then.
    await_status(two_, "hears both", lambda s: all(m["present"] for m in s["members"].values()))
    product.join(three_, two_)
    await_weight(bench.nodes, 31)


@pytest.mark.long
@three
def test_a_node_that_is_away_is_removed_and_told_so_on_return(bench):
    one, _, three_ = bench.nodes
    three_.power_off()
    await_status(one, "misses n3", lambda s: not s["members"]["n3"]["present"])
    product.ask(one, "DELETE", "members/n3")
    await_status(one, "has two members", lambda s: votes(s) == {"n1": 1, "n2": 1} and s["change"] is None)
    three_.power_on()
    await_status(three_, "stands alone", is_alone)
    assert put_weight(one, 41) == 200


@pytest.mark.long
@three
def test_a_node_is_replaced_by_another_machine_of_its_name(bench):
    one, two_, three_ = bench.nodes
    three_.stop("postroadd")
    three_.stop("postroad-ha")
    three_.run(["sh", "-c", "rm -rf /var/lib/postroad/* /etc/postroad/corosync"])
    await_status(one, "misses n3", lambda s: not s["members"]["n3"]["present"])
    product.start(three_, bench.lab, services.configuration([bench.lab.vip()], bench.backends.addresses))
    three_.await_ready()
    product.join(three_, two_, replace="n3")
    await_status(one, "has three members", lambda s: votes(s) == {"n1": 1, "n2": 1, "n3": 1} and s["change"] is None)
    assert product.status(one)["members"]["n3"]["id"] == 4 and put_weight(three_, 51) == 200
    await_weight(bench.nodes, 51)


@pytest.mark.long
@three
def test_a_new_key_reaches_all(bench):
    one = bench.nodes[0]
    product.ask(one, "POST", "rotate-keys")
    for node in bench.nodes:
        await_status(node, "has the new key", lambda s: s["generation"] == 4 and s["change"] is None and s["state"] == "ACTIVE")
    assert put_weight(one, 61) == 200
    await_weight(bench.nodes, 61)


def keys_of(node):
    return set(node.path("/var/lib/postroad/trust").glob("corosync-*.key"))


@pytest.mark.long
@three
def test_a_next_key_that_nobody_has_becomes_another_one(bench):
    one, two_, three_ = bench.nodes
    three_.power_off()
    await_status(one, "misses n3", lambda s: not s["members"]["n3"]["present"])
    in_force = {n: keys_of(n) for n in (two_, one)}
    product.ask(one, "POST", "rotate-keys")
    await_status(one, "waits for n3", lambda s: all(s["members"][n].get("staged") == 4 for n in ("n1", "n2")))
    # not the other way round: who coordinates fetches what it lacks
    for node, kept in in_force.items():
        for key in keys_of(node) - kept:
            key.unlink()
    three_.power_on()
    for node in bench.nodes:
        await_status(node, "has the other new key", lambda s: s["generation"] == 5 and s["change"] is None and s["state"] == "ACTIVE", 120)
    assert put_weight(one, 65) == 200
    await_weight(bench.nodes, 65)


@pytest.mark.long
@two
def test_a_token_is_made_once_listed_and_revoked(bench):
    one, two_ = bench.nodes

    def ask(node, method, path, body=None, key=None):
        headers = {} if key is None else {"Idempotency-Key": key}
        return node.call(method, f"/api/v1/cluster/{path}", body, headers=headers, timeout=40)

    code, _, made = ask(one, "POST", "tokens", {"voter_only": True}, "k")
    assert code == 200 and made["token"].startswith("postroad1.")
    until(lambda: Seen((t := ask(two_, "GET", "tokens")[2]["tokens"]).keys() == {made["token_id"]}, t), SECONDS, "the other node lists it")
    code, _, again = ask(two_, "POST", "tokens", {"voter_only": True}, "k")
    assert code == 200 and again["replayed"] and "token" not in again
    assert ask(two_, "POST", "tokens", {"voter_only": False}, "k")[0] == 422
    assert ask(two_, "DELETE", f"tokens/{made['token_id']}")[0] == 200
    assert ask(two_, "GET", "tokens")[2]["tokens"] == {}
    until(lambda: Seen((t := ask(one, "GET", "tokens")[2]["tokens"]) == {}, t), SECONDS, "it is gone everywhere")
    assert ask(one, "DELETE", f"tokens/{made['token_id']}")[0] == 404
    code, _, gone = ask(one, "DELETE", "members/n2", key="r")
    assert code == 200
    await_status(one, "has one member", lambda s: votes(s) == {"n1": 1} and s["change"] is None)
    code, _, again = ask(one, "DELETE", "members/n2", key="r")
    assert code == 200 and again["replayed"], again


@pytest.mark.long
@three
@pytest.mark.parametrize("step", ["prepare", "activate"])
def test_the_coordinator_dies_in_a_change(bench, step):
    one, two_, three_ = bench.nodes
    product.ask(three_, "POST", "rotate-keys")
    await_status(two_, f"is at {step}", lambda s: s["change"] is not None and s["change"]["step"] == step)
    one.power_off(torn=True)
    await_status(two_, "waits for n1", lambda s: s["coordinator"] == "n2" and s["state"] == "ACTIVE")
    one.power_on()
    for node in bench.nodes:
        await_status(node, "has the new key", lambda s: s["generation"] == 4 and s["change"] is None and s["state"] == "ACTIVE")
    await_written(two_, 71)
    await_weight(bench.nodes, 71)


@pytest.mark.long
@two
def test_of_two_the_tie_breaker_writes_alone_and_hands_over(bench):
    one, two_ = bench.nodes
    tie = next(n for n in bench.nodes if product.status(one)["members"][n.name]["tie_breaker"])
    other = two_ if tie is one else one
    other.power_off()
    await_status(tie, "is the single copy", lambda s: s["state"] == "ACTIVE" and s["single_copy"])
    await_written(tie, 81)
    other.power_on()
    await_status(other, "is back", lambda s: s["state"] == "ACTIVE" and not s["single_copy"])
    tie.power_off()
    await_status(other, "may not write", lambda s: s["state"] == "MINORITY")
    assert put_weight(other, 82) == 503
    assert other.call("PUT", "/api/v1/pools/mta/servers/sink1/state?scope=local", {"admin": "drain"})[0] == 200
    tie.power_on()
    await_written(other, 83)
    await_weight(bench.nodes, 83)
    # the cluster's word counts again
    until(lambda: Seen((a := admin_of(other)) == "ready", a), SECONDS, "what was set on this node alone is over")
    # a clean stop
    tie.stop("postroadd")
    await_status(other, "may write", lambda s: s["state"] == "ACTIVE" and s["single_copy"])
    await_written(other, 84)


@pytest.mark.long
@two
def test_a_tie_breaker_that_was_removed_behind_its_back_is_told_and_lists_what_it_wrote(bench):
    """It has a quorum of its own, and the others another key: only by a call can it learn of that."""
    one, two_ = bench.nodes
    tie = next(n for n in bench.nodes if product.status(one)["members"][n.name]["tie_breaker"])
    other = two_ if tie is one else one
    # Who has it not yet could not take the other one in again.
    until(other.path("/var/lib/postroad/trust/ca.key").exists, SECONDS, "it has the authority's key")
    bench.lab.lan.cut(tie.name, "cluster")
    await_status(tie, "is the single copy", lambda s: s["state"] == "ACTIVE" and s["single_copy"])
    await_written(tie, 91)
    await_status(other, "may not write", lambda s: s["state"] == "MINORITY")
    product.ask(other, "POST", "force-quorum", {}, wanted=202)
    await_written(other, 92)
    product.ask(other, "DELETE", f"members/{tie.name}")
    await_status(other, "is the only one", lambda s: list(s["members"]) == [other.name] and s["change"] is None)
    assert product.status(tie)["state"] == "ACTIVE"
    bench.lab.lan.plug_in(tie.name, "cluster")
    await_status(tie, "stands alone", is_alone)
    lost = product.ask(tie, "GET", "lost")
    assert [e["kind"] for e in lost["entries"]] == ["runtime"], lost
    product.join(tie, other)
    await_weight(bench.nodes, 92)


@pytest.mark.long
@unformed
def test_the_only_node_of_a_cluster_ends_it_and_keeps_its_configuration(bench):
    one = bench.nodes[0]
    before = one.call("GET", "/api/v1/config")[2]
    product.init(one)
    product.ask(one, "POST", "leave?force=true", {})  # it may have the VIP
    await_status(one, "stands alone", is_alone)
    until(lambda: Seen((c := one.call("GET", "/api/v1/config")[2]) == {k: v for k, v in before.items() if k != "vips"}, json.dumps(c)),
          SECONDS, "its configuration is there, without VIPs")
    product.form(bench.nodes)


@pytest.mark.long
@unformed
def test_a_join_without_room_for_the_table_leaves_a_node_alone(bench):
    """It would be a member that reaches nobody after a restart."""
    one, two_ = bench.nodes
    product.init(one)
    in_the_way = two_.path("/var/lib/postroad/trust/table")
    in_the_way.mkdir()
    refused = two_.call("POST", "/api/v1/cluster/join", {"token": product.token(one), "links": product.links_of(two_, ["cluster"])},
                        timeout=40)
    assert refused[0] == 500, refused
    assert is_alone(product.status(two_))
    in_the_way.rmdir()
    product.ask(one, "DELETE", "change")
    await_status(one, "has given it up", lambda s: list(s["members"]) == ["n1"] and s["change"] is None)
    product.join(two_, one)
