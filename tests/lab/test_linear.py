# SPDX-License-Identifier: Apache-2.0
"""The judge of histories: right ones pass, and each kind of wrong one is found."""
import pathlib
import random
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.lab.cluster import linear  # noqa: E402
from tests.lab.cluster.linear import CAS, OK, READ, REFUSED, STALE, UNKNOWN, WRITE, Op, check  # noqa: E402
from tests.lab.cluster.registers import Weight, Writers  # noqa: E402
from tests.lab.cluster.waiting import LabError, until  # noqa: E402


def op(kind, value, began, ended, outcome=OK, expected=None):
    return Op("r", kind, value, began, ended, outcome, expected)


RIGHT = {
    "nothing": [],
    "one after another": [op(WRITE, 1, 0, 1), op(READ, 1, 2, 3)],
    "a read meanwhile sees the old": [op(WRITE, 1, 0, 5), op(READ, 0, 1, 2), op(READ, 1, 3, 4)],
    "writes in either order": [op(WRITE, 1, 0, 5), op(WRITE, 2, 0, 5), op(READ, 1, 6, 7)],
    "unknown that happened": [op(WRITE, 1, 0, 1, UNKNOWN), op(READ, 1, 5, 6)],
    "unknown that happened late": [op(WRITE, 1, 0, 1, UNKNOWN), op(READ, 0, 5, 6), op(READ, 1, 7, 8)],
    "unknown that did not": [op(WRITE, 1, 0, 1, UNKNOWN), op(READ, 0, 5, 6)],
    "refused and not there": [op(WRITE, 1, 0, 1, REFUSED), op(READ, 0, 5, 6)],
    "one of two built on the same": [op(CAS, 1, 0, 5, OK, 0), op(CAS, 2, 0, 5, STALE, 0), op(READ, 1, 6, 7)],
    "stale because of an unknown one": [op(CAS, 1, 0, 1, UNKNOWN, 0), op(CAS, 2, 2, 3, STALE, 0)],
    "a chain": [op(CAS, 1, 0, 1, OK, 0), op(CAS, 2, 2, 3, OK, 1), op(CAS, 3, 4, 5, OK, 2), op(READ, 3, 6, 7)],
}
WRONG = {
    "an acknowledged write is lost": [op(WRITE, 1, 0, 1), op(READ, 0, 2, 3)],
    "lost behind a later one": [op(WRITE, 1, 0, 1), op(WRITE, 2, 2, 3), op(READ, 1, 4, 5)],
    "a value from nowhere": [op(READ, 7, 0, 1)],
    "back in time": [op(WRITE, 1, 0, 9), op(READ, 1, 1, 2), op(READ, 0, 3, 4)],
    "from the future": [op(READ, 1, 0, 1), op(WRITE, 1, 2, 3)],
    "refused and there": [op(WRITE, 1, 0, 1, REFUSED), op(READ, 1, 2, 3)],
    "unknown that came and went": [op(WRITE, 1, 0, 1, UNKNOWN), op(READ, 1, 2, 3), op(READ, 0, 4, 5)],
    "two built on the same": [op(CAS, 1, 0, 1, OK, 0), op(CAS, 2, 0, 3, OK, 0)],
    "stale without a reason": [op(CAS, 1, 0, 1, STALE, 0)],
    "stale before its reason": [op(CAS, 1, 0, 1, STALE, 0), op(CAS, 2, 2, 3, OK, 0)],
    "applied twice": [op(WRITE, 1, 0, 1), op(WRITE, 2, 2, 3), op(READ, 2, 4, 5), op(READ, 1, 6, 7)],
    "two readers disagree on the order": [op(WRITE, 1, 0, 9), op(WRITE, 2, 0, 9), op(READ, 1, 1, 2), op(READ, 2, 3, 4), op(READ, 1, 5, 6)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_history_passes(name):
    assert check(RIGHT[name], {"r": 0}) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_history_is_found(name):
    assert len(check(WRONG[name], {"r": 0})) == 1


def test_reads_that_may_be_old_may_not_be_of_the_future():
    assert check(WRONG["an acknowledged write is lost"], {"r": 0}, stale_reads=True) == []
    assert len(check(WRONG["from the future"], {"r": 0}, stale_reads=True)) == 1


def test_old_reads_still_say_what_has_happened():
    # The second read sees 2, so 2 was written by then; the third, strict one cannot see 1 again.
    unknown = [op(WRITE, 1, 0, 1), op(WRITE, 2, 2, 3, UNKNOWN), op(READ, 2, 4, 5), op(CAS, 3, 6, 7, OK, 1)]
    assert len(check(unknown, {"r": 0}, stale_reads=True)) == 1
    assert len(check([op(WRITE, 1, 0, 1, REFUSED), op(READ, 1, 2, 3)], {"r": 0}, stale_reads=True)) == 1
    assert check([op(WRITE, 1, 0, 9), op(READ, 1, 1, 2), op(WRITE, 2, 3, 4), op(READ, 1, 5, 6)], {"r": 0}, stale_reads=True) == []


def test_a_node_that_is_behind_may_refuse_what_is_right_where_nodes_answer_by_themselves():
    history = [op(WRITE, 1, 0, 1), op(CAS, 2, 2, 3, STALE, 1), op(CAS, 3, 4, 5, OK, 1)]
    assert len(check(history, {"r": 0})) == 1 and check(history, {"r": 0}, stale_reads=True) == []


@pytest.mark.parametrize("seed", range(5))
def test_old_reads_of_a_long_history_are_judged_soon(seed):
    history = made(random.Random(seed), 1000, 5)
    assert check(history, {"r": 0}, stale_reads=True) == []
    cas = [o for o in history if o.kind == CAS and o.outcome == OK]
    cas[len(cas) // 2].expected = cas[0].value
    assert len(check(history, {"r": 0}, stale_reads=True)) == 1


def test_registers_do_not_excuse_one_another():
    bad = WRONG["an acknowledged write is lost"]
    other = [Op("s", WRITE, 1, 0, 1), Op("s", READ, 1, 2, 3)]
    found = check(bad + other, {"r": 0, "s": 0})
    assert len(found) == 1 and found[0].startswith("r:")


def made(rng, count, workers):
    """A history that a real register gave: each call takes effect at a moment within it, some are never answered."""
    clocks, events = [0.0] * workers, []
    for value in range(1, count + 1):
        w = rng.randrange(workers)
        began = clocks[w] + rng.random()
        moment, ended = began + rng.random(), began + 2
        clocks[w] = ended
        events.append((moment, began, ended, value, rng.choice([READ, WRITE, WRITE, CAS]), rng.random()))
    state, history, last_seen = 0, [], 0
    for moment, began, ended, value, kind, chance in sorted(events):
        if kind == READ:
            history.append(op(READ, state, began, ended))
            last_seen = state
        elif kind == WRITE:
            happens, known = chance > 0.1, 0.05 < chance < 0.15
            history.append(op(WRITE, value, began, ended, UNKNOWN if known or not happens else OK))
            state = value if happens else state
        else:
            fits = last_seen == state
            history.append(op(CAS, value, began, ended, OK if fits else STALE, last_seen))
            state = value if fits else state
    rng.shuffle(history)
    return history


@pytest.mark.parametrize("seed", range(20))
def test_what_a_register_really_did_passes(seed):
    assert check(made(random.Random(seed), 200, 5), {"r": 0}) == []


@pytest.mark.parametrize("seed", range(20))
def test_one_read_changed_to_a_value_long_gone_is_found(seed):
    history = made(random.Random(seed), 200, 5)
    reads = sorted((o for o in history if o.kind == READ), key=lambda o: o.began)
    assert reads[-1].value != reads[0].value
    reads[-1].value = reads[0].value
    assert len(check(history, {"r": 0})) == 1


def blind(rng, writers, count):
    """Blind writes by so many at once, all of them answered, and one last read of a value that others were written after."""
    clocks, history = [0.0] * writers, []
    for value in range(1, count + 1):
        w = clocks.index(min(clocks))
        began = clocks[w] + rng.random() / 10
        clocks[w] = began + 2 + rng.random()
        history.append(op(WRITE, value, began, clocks[w]))
    return history + [op(READ, count // 2, max(clocks) + 1, max(clocks) + 2)]


def test_a_lost_write_of_many_writers_at_once_is_found_without_a_search(monkeypatch):
    monkeypatch.delattr(linear, "_search")
    found = check(blind(random.Random(1), 12, 200), {"r": 0})
    assert len(found) == 1 and "100 was there before and after" in found[0]


@pytest.mark.parametrize("seed", range(4))
def test_without_a_search_the_verdict_is_the_same(seed, monkeypatch):
    rng = random.Random(seed)
    histories = [[o for o in made(rng, 12, 3) if o.kind != CAS] for _ in range(100)]
    for history in histories:
        for read in [o for o in history if o.kind == READ]:
            read.value = rng.choice([read.value] * 3 + [o.value for o in history if o.kind == WRITE] + [0])
    found = [bool(check(history, {"r": 0})) for history in histories]
    monkeypatch.setattr(linear, "_groups_in_order", lambda name, ops, initial: linear._search(name, ops, [], initial))
    assert found == [bool(check(history, {"r": 0})) for history in histories]
    assert 10 < sum(found) < 90


def test_a_search_ends_and_says_so(monkeypatch):
    monkeypatch.setattr(linear, "STEPS_MAX", 5000)
    history = blind(random.Random(1), 12, 60)
    found = check(history + [op(CAS, 99, 1000, 1001, OK, 1)], {"r": 0})
    assert len(found) == 1 and "within 5000 steps" in found[0]


def test_values_that_are_not_unique_are_no_ground_for_a_verdict():
    with pytest.raises(ValueError):
        check([op(WRITE, 1, 0, 1), op(WRITE, 1, 2, 3)], {"r": 0})


def test_a_node_that_is_behind_may_say_what_was_there_before_the_writers_and_nothing_else():
    there = (200, {}, {"servers": {"s": {"weight": 5}}})
    for before, findings in (({3}, 0), ({4}, 1), ((), 1)):
        writers = Writers({"n1": lambda *_: there}, [Weight("p", "s")], threads=0, before=before)
        writers.history = [Op("weight:p/s", READ, 3, 1, 2)]
        assert len(writers.finish(stale_reads=True, least=0)) == findings
    writers = Writers({"n1": lambda *_: there}, [Weight("p", "s")], threads=0, before={3})
    writers.history = [Op("weight:p/s", READ, 3, 1, 2)]
    assert len(writers.finish(least=0)) == 1


class Server:
    """A register that answers each read by the next of these, the last one for ever; 0: not at all. Writes are made, if not refused."""

    def __init__(self, *reads):
        self.reads, self.weight, self.lock, self.refuses_until = list(reads), 5, threading.Lock(), 0

    def call(self, method, _, body=None, __=None):
        with self.lock:
            if method == "PUT" and time.monotonic() < self.refuses_until:
                return 503, {}, {}
            if method == "PUT":
                self.weight = body["weight"]
                return 200, {}, {}
            status = self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]
            if status == 0:
                raise ConnectionError("nobody is there")
            return status, {}, {"servers": {"s": {"weight": self.weight}}} if status == 200 else {}


def written_to(server, done=20):
    writers = Writers({"n1": server.call}, [Weight("p", "s")], threads=2, seed=1, pause=0).start()
    until(lambda: (writers.done() >= done and "read ok" in writers.counts()) or writers.trouble, 20, "writers write")
    return writers


def test_reads_without_an_answer_are_told_and_no_trouble():
    writers = written_to(Server(200, 0, 503, 200))
    assert writers.finish() == [] and writers.counts()["read unknown"] == writers.counts()["read refused"] == 1


@pytest.mark.parametrize("status", [500, 502, 404])
def test_a_read_that_is_answered_as_none_may_be_is_trouble(status):
    with pytest.raises(LabError, match=f"answers a read {status}"):
        written_to(Server(200, status, 200)).finish()


def test_a_history_of_few_writes_proves_nothing():
    assert any("fewer than 901" in f for f in written_to(Server(200)).finish(least=901))
    nothing = Writers({"n1": Server(200).call}, [Weight("p", "s")], threads=0)
    assert any("0 writes were made" in f for f in nothing.finish())


def test_writers_have_values_left_when_writes_were_refused_for_a_while():
    server = Server(200)
    writers = written_to(server)
    server.refuses_until = time.monotonic() + 1
    until(lambda: time.monotonic() > server.refuses_until and "write refused" in writers.counts(), 20, "writes are refused for a second")
    done = writers.done()
    until(lambda: writers.done() > done, 20, "they write again")
    assert writers.finish() == []
