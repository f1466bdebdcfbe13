# SPDX-License-Identifier: Apache-2.0
"""Changes of who is a member, with a member absent and with the coordinator losing its power at each step: mail flows all
along, and in the end all have the same table, with the change made or not made.

The hard thing is to hit a step: disks are slow, so that each entry of the log takes its time and is seen.
"""
import os
import pathlib
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import product  # noqa: E402
from tests.lab.cluster.lab import TOOLS  # noqa: E402
from tests.lab.cluster.members import Asked, Members, await_status, in_place, is_alone, staged, votes  # noqa: E402
from tests.lab.cluster.waiting import LabError, Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
NEEDED = (*TOOLS, "bin/postroad-ha")
SYNC_MS = 150
GIVEN_UP_SECONDS = 121  # a join that gets nowhere

pytestmark = [pytest.mark.long, pytest.mark.skipif(
    os.geteuid() != 0 or not all((BUILD / f"peers/{p}/.unpacked").exists() for p in ("corosync", "keepalived"))
    or not all((BUILD / t).exists() for t in NEEDED), reason="needs root, `make peers` and `make bench-tools`")]


@pytest.fixture(scope="module", name="place")
def one_place():
    place = Members(BUILD, BUILD / "lab/changes", 4, 3)
    yield place
    place.close()


# ---- the steps of a change, as a member sees them ----

def at(step, more=lambda s: True):
    return lambda s: s["change"] is not None and s["change"]["step"] == step and more(s)


STEPS = {
    "asked": lambda s: True,
    "prepare": at("prepare"),
    "one has the file": at("prepare", lambda s: staged(s) >= 1),
    "two have the file": at("prepare", lambda s: staged(s) >= 2),
    "activate": at("activate"),
    "one has it in place": at("activate", lambda s: in_place(s) >= 1),
    "one has read it": at("activate", lambda s: in_place(s, "active") >= 1),
    "over": lambda s: s["change"] is None,
}


def kill_at(place, step, request):
    """Asks for a change, and takes n1's power at a step of it. Returns the request."""
    one, two = place.nodes[:2]
    generation = product.status(two)["generation"]
    for node in place.nodes:
        node.slow_disk(SYNC_MS)
    asked = Asked(request)
    condition = STEPS[step]
    try:
        if step == "over":
            await_status(two, "sees the change", lambda s: s["change"] is not None)
        # A later step is as good where this one was too short to be seen: which it was is printed.
        seen = await_status(two, f"is at: {step}", lambda s: condition(s) or (s["change"] is None and s["generation"] > generation))
    except LabError as e:
        raise LabError(f"{e}; what was asked for got: {asked.answer or asked.error}") from e
    one.power_off(torn=True)
    for node in place.nodes[1:]:
        node.slow_disk(0)
    change = seen["change"] or {"step": "none"}
    print(f"  {step}: hit at {change['step']}, generation {seen['generation']}, {change.get('doing', '')}")
    return asked


def go_on(place, by=()):
    """n1 has no power: mail flows, and `by` write. (Of two voters that are left the other one may be the tie-breaker: then
    nobody writes.) Then it returns."""
    two = place.nodes[1]
    await_status(two, "misses n1", lambda s: not s["members"]["n1"]["present"])
    for name in by:
        place.write_by(place.named(name)[0])
    place.mail.await_accepted(20)
    place.nodes[0].power_on()
    place.nodes[0].slow_disk(0)


# ---- the coordinator dies ----

@pytest.mark.parametrize("step", STEPS)
def test_a_new_key_although_the_coordinator_dies(place, step):
    with place.test():
        three = place.nodes[2]
        before = product.status(three)
        asked = kill_at(place, step, lambda: three.call("POST", "/api/v1/cluster/rotate-keys", {}, timeout=40))
        go_on(place, ("n2", "n3"))
        asked.wait()
        place.await_one(("n1", "n2", "n3"))
        is_made = product.status(three)["generation"] > before["generation"]
        print(f"  answer {asked.answer and asked.answer[0]}, {'made' if is_made else 'not made'}")
        assert is_made or asked.answer is None or asked.answer[0] != 200, "what was answered 200 is made"


@pytest.mark.parametrize("step", STEPS)
def test_a_node_is_removed_although_the_coordinator_dies(place, step):
    with place.test():
        two = place.nodes[1]
        asked = kill_at(place, step, lambda: two.call("DELETE", "/api/v1/cluster/members/n3", timeout=40))
        go_on(place)
        asked.wait()
        left = await_status(two, "no change is under way", lambda s: s["change"] is None and s["members"]["n1"]["present"])
        is_made = "n3" not in left["members"]
        print(f"  answer {asked.answer and asked.answer[0]}, {'made' if is_made else 'not made'}")
        assert is_made or asked.answer is None or asked.answer[0] != 200, "what was answered 200 is made"
        place.await_one(("n1", "n2") if is_made else ("n1", "n2", "n3"))
        if is_made:
            place.await_alone("n3")
            product.join(place.nodes[2], two)
            place.await_one(("n1", "n2", "n3"))


@pytest.mark.parametrize("step", STEPS)
def test_a_node_joins_although_the_coordinator_dies(place, step):
    with place.test():
        two, four = place.nodes[1], place.nodes[3]
        token = place.token("n2")
        asked = kill_at(place, step, lambda: place.ask_join(four, token))
        go_on(place, ("n2", "n3"))
        asked.wait()
        left = await_status(two, "no change is under way", lambda s: s["change"] is None and s["members"]["n1"]["present"])
        is_made = "n4" in left["members"]
        print(f"  answer {asked.answer and asked.answer[0]}, {'made' if is_made else 'not made'}")
        assert is_made or asked.answer[0] != 200, "what was answered 200 is made"
        place.await_one(("n1", "n2", "n3", "n4") if is_made else ("n1", "n2", "n3"))
        if is_made:
            product.ask(four, "POST", "leave")
        place.await_alone("n4")
        place.await_one(("n1", "n2", "n3"))


@pytest.mark.parametrize("step", STEPS)
def test_a_node_is_replaced_although_the_coordinator_dies(place, step):
    with place.test():
        two, three = place.nodes[1:3]
        place.wipe("n3")
        old = await_status(two, "misses n3", lambda s: not s["members"]["n3"]["present"])["members"]["n3"]["id"]
        place.set_up("n3")
        token = place.token("n2", replace="n3")
        asked = kill_at(place, step, lambda: place.ask_join(three, token))
        go_on(place)
        asked.wait()
        left = await_status(two, "no change is under way", lambda s: s["change"] is None and s["members"]["n1"]["present"])
        is_made = "n3" in left["members"] and left["members"]["n3"]["id"] != old
        print(f"  answer {asked.answer and asked.answer[0]}, {'made' if is_made else 'not made'}")
        assert is_made or asked.answer[0] != 200, "what was answered 200 is made"
        if not is_made:
            place.await_alone("n3")
            product.join(three, two, **({"replace": "n3"} if "n3" in left["members"] else {}))
        place.await_one(("n1", "n2", "n3"))


# ---- a member is absent ----

def away(place, name):
    node = place.named(name)[0]
    node.power_off(torn=True)
    await_status(place.nodes[0], f"misses {name}", lambda s: not s["members"][name]["present"])
    return node


def is_waiting_for(name):
    return at("prepare", lambda s: name in s["change"]["doing"])


def test_a_join_is_refused_while_a_member_is_absent_and_forced_where_it_is_off(place):
    with place.test():
        one, _, _, four = place.nodes
        three = away(place, "n3")
        code, _, problem = place.ask_join(four, place.token("n1"))
        assert code == 409 and "n3" in problem["detail"], (code, problem)
        code, _, answer = place.ask_join(four, place.token("n1"), force=True)
        assert code == 200, answer
        await_status(one, "has n4", lambda s: s["change"] is None and votes(s).get("n4") == 1)
        place.write_by(four)
        # With the old file it fetches the newer one before its corosync starts.
        three.power_on()
        place.await_one(("n1", "n2", "n3", "n4"))
        product.ask(four, "POST", "leave")
        place.await_alone("n4")
        place.await_one(("n1", "n2", "n3"))


def test_a_new_key_waits_for_who_is_absent_and_can_be_cancelled(place):
    with place.test():
        one = place.nodes[0]
        three = away(place, "n3")
        product.ask(one, "POST", "rotate-keys")
        await_status(one, "waits for n3", is_waiting_for("n3"))
        place.write_by(place.nodes[1])
        product.ask(one, "DELETE", "change")
        await_status(one, "has no change", lambda s: s["change"] is None)
        product.ask(place.nodes[1], "POST", "rotate-keys")
        waiting = await_status(one, "waits for n3", is_waiting_for("n3"))
        three.power_on()
        place.await_one(("n1", "n2", "n3"), lambda s: s["generation"] == waiting["change"]["generation"])


def test_a_removal_waits_for_who_is_absent_until_it_is_removed_too(place):
    with place.test():
        one, two, _, four = place.nodes
        product.join(four, one)
        three = away(place, "n3")
        product.ask(one, "DELETE", "members/n4")
        await_status(one, "waits for n3", is_waiting_for("n3"))
        # The vote has gone at once: two of three are here.
        place.write_by(two)
        product.ask(two, "DELETE", "members/n3")
        place.await_alone("n4")
        place.await_one(("n1", "n2"))
        three.power_on()
        place.await_alone("n3")
        product.join(three, one)
        place.await_one(("n1", "n2", "n3"))


def test_a_removal_goes_on_when_who_was_absent_returns(place):
    with place.test():
        one, _, three, four = place.nodes
        product.join(four, one)
        away(place, "n3")
        product.ask(one, "DELETE", "members/n4")
        await_status(one, "waits for n3", is_waiting_for("n3"))
        three.power_on()
        place.await_alone("n4")
        place.await_one(("n1", "n2", "n3"))


def test_an_absent_node_is_removed_by_force_while_another_is_absent(place):
    with place.test():
        one, two, three, four = place.nodes
        product.join(four, one)
        five = place.named("n4")[0]
        away(place, "n4")
        product.ask(one, "DELETE", "members/n4?force=1")
        place.await_one(("n1", "n2", "n3"))
        five.power_on()
        place.await_alone("n4")
        assert two.is_on() and three.is_on()


# ---- who joins is the one that dies ----

def pass_two_minutes(place):
    """By the log's time, which is the coordinator's wall clock."""
    for node in place.nodes:
        node.clock_step(GIVEN_UP_SECONDS)


@pytest.mark.parametrize("step", [s for s in STEPS if s not in ("asked", "over")])
def test_a_join_is_given_up_when_the_one_that_joins_dies(place, step):
    with place.test():
        two, four = place.nodes[1], place.nodes[3]
        token = place.token("n2")
        for node in place.nodes:
            node.slow_disk(SYNC_MS)
        asked = Asked(place.ask_join, four, token)
        condition = STEPS[step]
        seen = await_status(two, f"is at: {step}", lambda s: condition(s) or votes(s).get("n4") == 1)
        four.power_off(torn=True)
        asked.wait()
        for node in place.nodes[:3]:
            node.slow_disk(0)
        print(f"  {step}: hit at {seen['change'] and seen['change']['step']}")
        pass_two_minutes(place)
        left = await_status(two, "no change is under way", lambda s: s["change"] is None)
        is_made = "n4" in left["members"]
        if not is_made:
            place.await_one(("n1", "n2", "n3"))
        four.power_on()
        four.slow_disk(0)
        if is_made:
            place.await_one(("n1", "n2", "n3", "n4"))
            product.ask(four, "POST", "leave")
        place.await_alone("n4")
        place.await_one(("n1", "n2", "n3"))


def test_a_node_that_joins_goes_on_by_itself_after_a_loss_of_power(place):
    with place.test():
        two, four = place.nodes[1], place.nodes[3]
        token = place.token("n2")
        code, _, answer = place.ask_join(four, token)
        assert code == 200, answer
        four.power_off(torn=True)
        assert product.status(two)["change"] is not None or votes(product.status(two)).get("n4") == 1
        four.power_on()
        place.await_one(("n1", "n2", "n3", "n4"))
        product.ask(four, "POST", "leave")
        place.await_alone("n4")
        place.await_one(("n1", "n2", "n3"))


def test_a_join_right_after_another_change_waits_until_all_are_heard(place):
    with place.test():
        one, two, three, four = place.nodes
        product.ask(three, "POST", "leave")
        until(lambda: Seen(is_alone(s := product.status(three)), s), 40, "n3 stands alone")
        token = place.token("n1")
        code, _, answer = place.ask_join(four, token)
        assert code == 200, answer
        place.await_one(("n1", "n2", "n4"))
        product.ask(four, "POST", "leave")
        code, _, answer = place.ask_join(three, place.token("n2"))
        assert code == 200, answer
        place.await_alone("n4")
        place.await_one(("n1", "n2", "n3"))
        assert one.is_on() and two.is_on()
