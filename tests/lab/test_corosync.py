# SPDX-License-Identifier: Apache-2.0
"""The adapter over three real corosyncs: what it tells is a view and one order for all, whatever happens to corosync.

Needs root, for namespaces; says so and is skipped without. What a member saw is compared with what the others saw."""
import itertools
import os
import signal
import time

import pytest

from ring.world import World, namespaces_work, wait_for

pytestmark = [pytest.mark.long,
              pytest.mark.skipif(not namespaces_work(), reason="SKIPPED: three corosyncs need root and namespaces")]
BUILD = os.environ.get("BUILD") or os.path.dirname(os.path.dirname(os.environ.get("POSTROADD") or "build/bin/postroadd"))
SMALL, LARGE = 64, 60 * 1024


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path, BUILD)
    try:
        yield w
    finally:
        w.close()


@pytest.fixture
def members(world):
    for n in world.nodes.values():
        n.start()
    members = [n.member() for n in world.nodes.values()]
    together(members)
    return members


def together(members):
    """All members are in one view, of these and no others."""
    ids = sorted(m.node.id for m in members)
    wait_for(lambda: all(m.last() == ids for m in members) and len({tuple(m.last_name()) for m in members}) == 1,
             lambda: "one view of {}: {}".format(ids, [[x for x in m.lines() if x[0] in "VD"][-3:] for m in members]))


def settle(members, until):
    """until(status) is true of all; returns the statuses."""
    seen = []

    def done():
        seen[:] = [m.status() for m in members]
        return all(until(s) for s in seen)

    wait_for(done, lambda: str(seen), 120)
    return seen


def sent_all(status):
    return status["to_send"] == 0 and status["in_flight"] == 0 and status["waiting"] == 0 and status["connected"]


def by_view(member):
    return {name: messages for name, ids, messages in filter(None, member.views())}


def books_agree(members):
    """In each view that two members had, what both heard came in the same order; and no sender's messages have a gap."""
    for m in members:
        for name, messages in by_view(m).items():
            for sender in {s for s, _ in messages}:
                numbers = [n for s, n in messages if s == sender]
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"{m.node.id} {name}: a gap or a repetition of {sender}"
    for a, b in itertools.combinations(members, 2):
        books_a, books_b = by_view(a), by_view(b)
        for name in books_a.keys() & books_b.keys():
            both = set(books_a[name]) & set(books_b[name])
            assert [x for x in books_a[name] if x in both] == [x for x in books_b[name] if x in both], f"{a.node.id}, {b.node.id}: {name}"


def keep_sending(members, n=1000000):
    for m in members:
        m.say(f"send {n} {SMALL}")


# ---- when all is well ----


def test_all_hear_100000_messages_in_one_order(members):
    before = [m.cpu_seconds() for m in members]
    begun = time.monotonic()
    for m, n in zip(members, (33333, 33333, 33334)):
        m.say(f"send {n} {SMALL}")
    statuses = settle(members, lambda s: s["heard"] == 100000 and sent_all(s))
    took = time.monotonic() - begun
    cpu = [round(m.cpu_seconds() - x, 2) for m, x in zip(members, before)]
    print(f"100,000 messages of {SMALL} bytes in {took:.1f} s, CPU seconds {cpu}")
    assert [s["lost"] for s in statuses] == [0, 0, 0]
    books_agree(members)
    first = by_view(members[0])[tuple(members[0].last_name())]
    assert len(first) == 100000
    assert all(by_view(m)[tuple(m.last_name())] == first for m in members)


def test_the_largest_messages_pass(members):
    for m in members:
        m.say(f"send 300 {LARGE}")
    statuses = settle(members, lambda s: s["heard"] == 900 and sent_all(s))
    assert all(s["views"] <= 3 for s in statuses)
    books_agree(members)


def test_links_and_ring_are_measured(members):
    statuses = settle(members, lambda s: s["asked"] and len(s["links"]) == 2 and all(x["connected"] and x["mtu"] > 0 for x in s["links"]))
    assert [{x["node"] for x in s["links"]} for s in statuses] == [{2, 3}, {1, 3}, {1, 2}]
    assert all(s["token_us"] > 0 and s["id"] == m.node.id for m, s in zip(members, statuses))
    members[0].node.world.nodes[3].link(False)
    settle(members[:1], lambda s: {x["node"]: x["connected"] for x in s["links"]} == {2: True, 3: False})


def test_an_idle_member_hears_itself_and_does_not_spin(members):
    before = [m.cpu_seconds() for m in members]
    last = [m.status()["since_returned_ms"] for m in members]
    for _ in range(3):  # each time a sign of life came back
        wait_for(lambda: all(m.status()["since_returned_ms"] < x for m, x in zip(members, last)), "no sign of life")
        wait_for(lambda: all(m.status()["since_returned_ms"] > 700 for m in members), "signs of life come too often")
        last = [m.status()["since_returned_ms"] for m in members]
    assert all(m.cpu_seconds() - x < 1 for m, x in zip(members, before))
    assert all(s["in_flight"] <= 1 and s["hung_ms"] == 0 for s in map(lambda m: m.status(), members))


def test_a_resync_is_a_new_view_for_all(members):
    name = members[0].last_name()
    members[1].say("resync")
    wait_for(lambda: members[1].status()["resyncs"] == 1, "no resync")
    wait_for(lambda: all(m.last_name() != name for m in members), "no new view")
    together(members)
    assert None not in members[1].views()  # it was quick enough not to be told as an end


# ---- when corosync is not ----


def test_without_corosync_a_member_waits(world):
    m = world.nodes[1].member()
    wait_for(lambda: m.status()["why"] == "corosync does not run", "a reason")
    assert m.lines() == [] and not m.status()["connected"]
    world.nodes[1].start()
    together([m])
    assert m.stop() >= 0


def test_a_killed_corosync_is_an_end_here_and_a_view_there_and_comes_back(members):
    keep_sending(members)
    victim = members[2].node
    victim.signal(signal.SIGKILL)
    wait_for(lambda: members[2].lines()[-1:] == ["D"] or None in members[2].views(), "disconnected")
    together(members[:2])
    victim.start()
    together(members)
    assert members[2].status()["connections"] == 2
    books_agree(members)


@pytest.mark.parametrize("seconds", [3, 10])
def test_a_stopped_corosync_is_noticed_and_returns_to_one_view(members, seconds):
    keep_sending(members)
    victim = members[2].node
    before = members[2].cpu_seconds()
    victim.signal(signal.SIGSTOP)
    together(members[:2])
    hung = settle(members[2:], lambda s: s["hung_ms"] >= seconds * 1000)[0]
    assert hung["in_flight"] <= 32
    assert members[2].cpu_seconds() - before < seconds  # one that spins needs it all
    victim.signal(signal.SIGCONT)
    together(members)
    settle(members[2:], lambda s: s["hung_ms"] == 0)
    books_agree(members)


@pytest.mark.parametrize("in_a_call", [False, True], ids=["while_it_waits", "in_a_call"])
def test_a_hung_corosync_that_is_killed_is_left_and_its_successor_joined(members, in_a_call):
    victim = members[2].node
    victim.signal(signal.SIGSTOP)
    if in_a_call:
        members[2].say("resync")  # leaving waits for an answer that does not come
    settle(members[2:], lambda s: s["hung_ms"] >= 3000)
    victim.signal(signal.SIGKILL)
    settle(members[2:], lambda s: s["why"] == "corosync does not run" and s["hung_ms"] == 0)
    victim.start()
    together(members)


def test_a_member_that_starts_while_corosync_is_stopped_waits_and_can_be_stopped(members):
    members[2].stop()
    members[2].node.signal(signal.SIGSTOP)
    patient, other = members[2].node.member(), members[2].node.member()
    settle([patient, other], lambda s: s["hung_ms"] >= 2500)
    other.stop()
    together(members[:2])
    members[2].node.signal(signal.SIGCONT)
    together([*members[:2], patient])


def test_a_user_without_rights_is_let_in_by_uidgid(world):
    node = world.nodes[1]
    node.start()
    m = node.member(user=4242)
    wait_for(lambda: "uidgid" in m.status()["why"], lambda: m.status())
    node.signal(signal.SIGKILL)
    node.let_in(4242)
    node.start()
    together([m])


def test_a_partition_heals_with_messages_under_way(members):
    keep_sending(members)
    members[2].node.link(False)
    together(members[:2])
    together(members[2:])
    members[2].node.link(True)
    together(members)
    name = members[0].last_name()
    wait_for(lambda: all(m.status()["heard"] > 0 and by_view(m).get(tuple(name)) for m in members), "messages in the new view")
    books_agree(members)


def test_loss_in_one_direction_breaks_rings_and_heals(members):
    keep_sending(members)
    before = [m.cpu_seconds() for m in members]
    views = [m.status()["views"] for m in members]
    members[2].node.deaf_to(1)
    settle(members[:1] + members[2:], lambda s: not s["connected"] or s["members"] < 3)
    wait_for(lambda: sum(m.status()["views"] for m in members) >= sum(views) + 2, lambda: [m.status() for m in members])
    members[2].node.deaf_to(None)
    together(members)
    books_agree(members)
    print("views", [m.status()["views"] for m in members], "CPU seconds", [m.cpu_seconds() - x for m, x in zip(members, before)])


# ---- ends ----


@pytest.mark.parametrize("wait_ms", [0, 2500])
def test_the_adapter_stops_while_corosync_is_stopped(members, wait_ms):
    members[2].node.signal(signal.SIGSTOP)
    members[2].say(f"send 100 {SMALL}")
    if wait_ms:
        settle(members[2:], lambda s: s["hung_ms"] >= wait_ms)
    members[2].stop()  # corosync is never continued: without a bound this would not return
    together(members[:2])


def test_a_member_that_stops_leaves_at_once(members):
    members[2].stop()
    together(members[:2])
    assert all(None not in m.views() for m in members[:2])


def test_a_second_process_of_a_node_waits_for_the_first(members):
    second = members[0].node.member()
    wait_for(lambda: "another process" in second.status()["why"], lambda: second.status())
    assert second.lines() == [] and members[0].status()["connected"]
    views = [m.status()["views"] for m in members]
    members[0].process.kill()
    together([second] + members[1:])
    assert [m.status()["views"] for m in members[1:]] == [n + 2 for n in views[1:]]  # one for its end, one for the other


# ---- when the control thread is slow ----


def test_events_wait_in_corosync_while_they_are_not_taken(members):
    members[1].say("hold")
    members[0].say(f"send 5000 {SMALL}")
    settle(members[:1], sent_all)
    held = members[1].status()
    assert 256 <= held["events"] <= 320 and held["heard"] == 0
    members[1].say("go")
    settle(members, lambda s: s["heard"] == 5000)
    books_agree(members)
    assert members[1].status()["lost"] == 0 and len(members[1].views()) == len(by_view(members[1]))


def test_who_takes_no_events_for_long_leaves_and_joins_again(members):
    members[1].say("hold")
    members[0].say(f"send 5000 {SMALL}")
    together([members[0], members[2]])
    assert "not taken" in members[1].status()["why"]
    members[1].say("go")
    together(members)
    assert None in members[1].views()
    books_agree(members)
