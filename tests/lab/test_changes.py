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
from tests.lab.cluster.members import SECONDS, Asked, Members, await_status, in_place, is_alone, staged, verdict, votes  # noqa: E402
from tests.lab.cluster.waiting import LabError, Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
NEEDED = (*TOOLS, "bin/postroad-ha")
SYNC_MS = (150, 300, 600)  # tried in turn, until a step is seen
SLOWER = 4  # so many times as slow is the disk of who is to be late
GIVEN_UP_SECONDS = 120 + 40  # a join that gets nowhere, from when its coordinator first saw it, and what takes it back

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


class Step:
    """`is_it`: what n2's status says at it. `slower`: whose disks are, so that it lasts; the others would be through at once."""

    def __init__(self, is_it, slower=()):
        self.is_it, self.slower = is_it, slower


ASKED, OVER = "asked", "over"
STEPS = {
    ASKED: Step(lambda s: s["change"] is None),
    "prepare": Step(at("prepare", lambda s: staged(s) == 0)),
    "one has the file": Step(at("prepare", lambda s: staged(s) == 1), ("n1", "n3", "n4")),
    "two have the file": Step(at("prepare", lambda s: staged(s) == 2), ("n1", "n4")),
    "activate": Step(at("activate", lambda s: in_place(s) == 0)),
    "one has it in place": Step(at("activate", lambda s: in_place(s) == 1), ("n1", "n3", "n4")),
    "one has read it": Step(at("activate", lambda s: in_place(s, "active") >= 1)),
    OVER: Step(lambda s: s["change"] is None),
}
BETWEEN = [s for s in STEPS if s not in (ASKED, OVER)]


class Journal:
    """What programs of a node write from now on, synced or not."""

    def __init__(self, node):
        self._path = node.disk.journal
        self._began = os.path.getsize(self._path)

    def has(self, text):
        with open(self._path, "rb") as f:
            f.seek(self._began)
            return text in f.read()


def kill_at(place, victim, name, ask, again):
    """Asks for a change by `ask`, and takes the victim's power at a step of it, as n2 sees that. Where it was too short to be seen,
    `again` makes good what was done, and it is asked for again with slower disks. Returns the request."""
    missed = []
    for sync_ms in SYNC_MS:
        if missed:
            again()
        before = await_status(place.nodes[1], "n1 coordinates", lambda s: s["coordinator"] == "n1" and s["change"] is None)
        slow_down(place, STEPS[name].slower, sync_ms)
        journal = Journal(place.nodes[0])
        asked = ask()
        seen = await_step(place, name, before["generation"], journal, asked)
        if seen is not None:
            victim.power_off(torn=True)
            after = product.status(place.nodes[1])
            slow_down(place, (), 0)
            judge_hit(name, seen, after)
            print(f"  {name}: hit with {sync_ms} ms a sync: {in_short(seen)}; after it: {in_short(after)}")
            return asked
        slow_down(place, (), 0)
        asked.wait()
        missed.append(sync_ms)
    raise LabError(f"the step \"{name}\" was not seen with any of {missed} ms a sync")


def slow_down(place, slower, sync_ms):
    for node in place.nodes:
        node.slow_disk(sync_ms * SLOWER if node.name in slower else sync_ms)


def in_short(s):
    c = s["change"]
    return f"generation {s['generation']}, " + (f"{c['kind']} at {c['step']}, {staged(s)} have the file" if c else "no change") + \
        f", {in_place(s)} in place, {in_place(s, 'active')} read"


def await_step(place, name, generation, journal, asked):
    """What n2 says at the step; None where it went by unseen."""
    step = STEPS[name]

    def is_over(s):
        return s["change"] is None and s["generation"] > generation

    def is_asked(s):
        return journal.has(b'"change":{') and step.is_it(s)

    def look(s):
        if name == OVER:
            return is_over(s)
        return (is_asked(s) if name == ASKED else step.is_it(s)) or is_over(s)

    try:
        seen = await_status(place.nodes[1], f"is at: {name}", look)
    except LabError as e:
        raise LabError(f"{e}; what was asked for got: {asked.answer or asked.error!r}") from e
    return None if name != OVER and is_over(seen) else seen


def judge_hit(name, seen, after):
    """The victim has no power, and n2 has not noticed: nothing was decided since, so that the step it is at is the one that was hit.
    What was asked for may just have been decided."""
    def step(s):
        return s["change"] and (s["change"]["step"], s["change"]["generation"])
    is_hit = step(after) == step(seen) or name == ASKED and at("prepare")(after)
    if not is_hit or after["coordinator"] != "n1":
        raise LabError(f"{name}: n1 died too late: {in_short(seen)}, then {in_short(after)}, by {after['coordinator']}")


def go_on(place, by=()):
    """n1 has no power: mail flows, and `by` write. (Of two voters that are left the other one may be the tie-breaker: then
    nobody writes.) Then it returns."""
    two = place.nodes[1]
    await_status(two, "misses n1", lambda s: not s["members"]["n1"]["present"])
    for name in by:
        place.write_by(place.named(name)[0])
    place.mail.await_accepted(20)
    place.nodes[0].power_on()


def await_settled(place, seconds=SECONDS):
    return await_status(place.nodes[1], "no change is under way", lambda s: s["change"] is None and s["members"]["n1"]["present"], seconds)


# ---- the coordinator dies ----

@pytest.mark.parametrize("step", STEPS)
def test_a_new_key_although_the_coordinator_dies(place, step):
    with place.test():
        one, _, three, _ = place.nodes
        generations = []

        def ask():
            generations.append(product.status(three)["generation"])
            return Asked(three.call, "POST", "/api/v1/cluster/rotate-keys", {}, timeout=40)
        asked = kill_at(place, one, step, ask, lambda: place.await_one(("n1", "n2", "n3")))
        go_on(place, ("n2", "n3"))
        asked.wait()
        place.await_one(("n1", "n2", "n3"))
        verdict(asked, product.status(three)["generation"] > generations[-1])


@pytest.mark.parametrize("step", STEPS)
def test_a_node_is_removed_although_the_coordinator_dies(place, step):
    with place.test():
        one, two, three, _ = place.nodes

        def again():
            place.await_alone("n3")
            product.join(three, two)
            place.await_one(("n1", "n2", "n3"))
        asked = kill_at(place, one, step, lambda: Asked(two.call, "DELETE", "/api/v1/cluster/members/n3", timeout=40), again)
        go_on(place)
        asked.wait()
        is_made = "n3" not in await_settled(place)["members"]
        verdict(asked, is_made)
        place.await_one(("n1", "n2") if is_made else ("n1", "n2", "n3"))
        if is_made:
            again()


def ask_in(place, four):
    return Asked(place.ask_join, four, place.token("n2"))


def see_off(place, four):
    product.ask(four, "POST", "leave")
    place.await_alone("n4")
    place.await_one(("n1", "n2", "n3"))


@pytest.mark.parametrize("step", STEPS)
def test_a_node_joins_although_the_coordinator_dies(place, step):
    with place.test():
        one, _, _, four = place.nodes

        def again():
            place.await_one(("n1", "n2", "n3", "n4"))
            see_off(place, four)
        asked = kill_at(place, one, step, lambda: ask_in(place, four), again)
        go_on(place, ("n2", "n3"))
        asked.wait()
        is_made = "n4" in await_settled(place)["members"]
        verdict(asked, is_made)
        if is_made:
            again()
        else:
            place.await_one(("n1", "n2", "n3"))
            place.await_alone("n4")


@pytest.mark.parametrize("step", STEPS)
def test_a_node_is_replaced_although_the_coordinator_dies(place, step):
    with place.test():
        one, two, three, _ = place.nodes
        old = []

        def set_up_anew():
            place.wipe("n3")
            old.append(await_status(two, "misses n3", lambda s: not s["members"]["n3"]["present"])["members"]["n3"]["id"])
            place.set_up("n3")

        def again():
            place.await_one(("n1", "n2", "n3"))
            set_up_anew()
        set_up_anew()
        asked = kill_at(place, one, step, lambda: Asked(place.ask_join, three, place.token("n2", replace="n3")), again)
        go_on(place)
        asked.wait()
        left = await_settled(place)
        is_made = "n3" in left["members"] and left["members"]["n3"]["id"] != old[-1]
        verdict(asked, is_made)
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


def test_an_absent_node_is_removed_by_force(place):
    with place.test():
        one, _, _, four = place.nodes
        product.join(four, one)
        away(place, "n4")
        product.ask(one, "DELETE", "members/n4?force=true")
        place.await_one(("n1", "n2", "n3"))
        four.power_on()
        place.await_alone("n4")


@pytest.fixture(name="five")
def five_members(place):
    """Of five two may be away, and the others decide. Nine nodes at once would be in each other's way."""
    place.close()
    place = Members(BUILD, BUILD / "lab/changes-five", 5, 5)
    yield place
    place.close()


def test_an_absent_node_is_removed_by_force_while_another_is_absent(five):
    with five.test():
        one = five.nodes[0]
        four, gone = away(five, "n4"), away(five, "n5")
        product.ask(one, "DELETE", "members/n5")
        await_status(one, "waits for n4", is_waiting_for("n4"))
        five.write_by(one)
        product.ask(one, "DELETE", "members/n5?force=true")
        await_status(one, "no change is under way", lambda s: s["change"] is None and "n5" not in s["members"])
        assert not product.status(one)["members"]["n4"]["present"], "n4 was not needed"
        four.power_on()
        five.await_one(("n1", "n2", "n3", "n4"))
        gone.power_on()
        five.await_alone("n5")


def test_a_replacement_is_refused_while_another_is_absent_and_forced_where_it_is_off(five):
    with five.test():
        one, new = five.nodes[0], five.nodes[4]
        four = away(five, "n4")
        five.wipe("n5")
        before = await_status(one, "misses n5", lambda s: not s["members"]["n5"]["present"])
        five.set_up("n5")
        token = five.token("n1", replace="n5")
        code, _, problem = five.ask_join(new, token)
        assert code == 409 and "n4" in problem["detail"], (code, problem)
        after = product.status(one)
        assert after["change"] is None and votes(after) == votes(before) and after["generation"] == before["generation"], after
        # Who was refused has not used its token.
        code, _, answer = five.ask_join(new, token, force=True)
        assert code == 200, answer
        left = await_status(one, "has the new n5", lambda s: s["change"] is None and votes(s).get("n5") == 1)
        assert left["members"]["n5"]["id"] != before["members"]["n5"]["id"] and not left["members"]["n4"]["present"], left
        # With the old file it fetches the newer one before its corosync starts.
        four.power_on()
        five.await_one(("n1", "n2", "n3", "n4", "n5"))


# ---- who joins is the one that dies ----

@pytest.mark.parametrize("step", BETWEEN)
def test_a_join_is_given_up_when_the_one_that_joins_dies(place, step):
    with place.test():
        four = place.nodes[3]

        def again():
            place.await_one(("n1", "n2", "n3", "n4"))
            see_off(place, four)
        asked = kill_at(place, four, step, lambda: ask_in(place, four), again)
        asked.wait()
        # A change is under way, so it was let in, and told so unless it died before.
        assert isinstance(asked.error, ConnectionError) if asked.answer is None else asked.answer[0] == 200, (asked.answer, asked.error)
        is_made = "n4" in await_settled(place, GIVEN_UP_SECONDS)["members"]
        print(f"  {'made' if is_made else 'not made'}")
        if not is_made:
            place.await_one(("n1", "n2", "n3"))
        four.power_on()
        if is_made:
            again()
        else:
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
        # Not two seconds later the others begin again with another key: each is without a quorum for a moment, and says so.
        product.await_active(one)
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
