# SPDX-License-Identifier: Apache-2.0
"""Writes that wait: for each other, for a disk that hangs, for nobody any more."""
import json
import os
import pathlib
import random
import signal
import subprocess
import threading

import pytest

from conftest import wait_for

HERE = pathlib.Path(__file__).resolve().parent


class Asking(threading.Thread):
    """A request in the background; .answer once it has come."""

    def __init__(self, node, *arguments, **kw):
        super().__init__(daemon=True)
        self.work = lambda: node.call(*arguments, **kw)
        self.answer = None
        self.start()

    def run(self):
        try:
            self.answer = self.work()
        except OSError:  # cut off: there is no answer
            pass

    def result(self):
        self.join(30)
        assert self.answer is not None, "no answer"
        return self.answer


def patch(node, body, match="*", **headers):
    return Asking(node, "PATCH", "/api/v1/config", body, headers={"If-Match": match, **headers})


def server(i):
    return {"pools": {"main": {"servers": {f"s{i}": {"address": "127.0.0.1:9"}}}}}


@pytest.fixture
def held(idle_node, tmp_path):
    """A node whose disk hangs while the file held.file exists."""
    library, idle_node.held = tmp_path / "held.so", tmp_path / "hold"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", library, HERE / "held_sync.c"], check=True)
    environment = dict(os.environ, LD_PRELOAD=str(library), HELD_SYNC=str(idle_node.held))
    environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    yield idle_node.start(env=environment)
    idle_node.held.unlink(missing_ok=True)


def test_writes_at_once_are_all_made_each_on_top_of_the_other(node):
    first = node.revision()
    asked = [patch(node, server(i)) for i in range(20)]
    assert [a.result().status for a in asked] == [200] * 20
    assert sorted(a.result().json["revision"] for a in asked) == list(range(first + 1, first + 21))
    assert {f"s{i}" for i in range(20)} <= node.document()["pools"]["main"]["servers"].keys()


def test_of_writers_that_saw_the_same_one_wins(node):
    etag, first = node.get("/api/v1/config").etag, node.revision()
    asked = [patch(node, server(i), match=etag) for i in range(10)]
    statuses = sorted(a.result().status for a in asked)
    assert statuses == [200] + [412] * 9
    present = node.get("/api/v1/config").etag
    assert {a.answer.etag for a in asked} == {present}
    assert node.revision() == first + 1


def test_the_same_key_at_once_is_applied_once(node):
    first = node.revision()
    asked = [patch(node, server(1), **{"Idempotency-Key": "k"}) for _ in range(10)]
    assert [a.result().status for a in asked] == [200] * 10
    assert sum("replayed" in a.answer.json for a in asked) == 9
    assert node.revision() == first + 1


def test_runtime_settings_at_once_are_all_kept(node):
    node.write("PATCH", "/api/v1/config", {"pools": {"main": {"servers": {f"s{i}": {"address": "127.0.0.1:9"} for i in range(8)}}}})
    asked = [Asking(node, "PUT", f"/api/v1/pools/main/servers/s{i}/weight", {"weight": 10 + i}) for i in range(8)]
    assert [a.result().status for a in asked] == [200] * 8
    node.kill()
    node.start()
    servers = node.get("/api/v1/pools/main").json["servers"]
    assert [servers[f"s{i}"]["weight_override"] for i in range(8)] == list(range(10, 18))


def test_what_became_of_an_operation(node):
    node.write("PATCH", "/api/v1/config", {"comment": "x"})
    revision = node.get("/api/v1/config/revisions").json["revisions"][0]
    answer = node.get(f"/api/v1/operations/{revision['operation']}").json
    assert (answer["state"], answer["revision"]) == ("committed", revision["revision"])
    node.kill()
    node.start()
    assert node.get(f"/api/v1/operations/{revision['operation']}").json == answer
    unheard = node.get("/api/v1/operations/0123")
    assert (unheard.status, unheard.problem) == (404, "not-found")


def test_a_disk_that_hangs_holds_writes_and_nothing_else(held):
    node, before = held, held.document()
    node.held.touch()
    writes = [patch(node, server(1)), patch(node, server(2))]
    drained = Asking(node, "PUT", "/api/v1/pools/main/servers/b1/state", {"admin": "drain"})
    for _ in range(5):
        assert node.get("/readyz").status == 200
        assert node.document() == before  # not in force before it is durable
    assert node.get("/api/v1/pools/main").json["servers"]["b1"]["admin"] == "ready"
    assert all(a.is_alive() for a in writes + [drained])
    node.held.unlink()
    assert [a.result().status for a in writes + [drained]] == [200] * 3
    assert {"s1", "s2"} <= node.document()["pools"]["main"]["servers"].keys()


def test_an_answer_that_does_not_come_in_time_is_202_and_the_operation_tells(held):
    node, first = held, held.revision()
    node.held.touch()
    written = patch(node, server(1)).result()
    assert (written.status, written.json["state"]) == (202, "unknown")
    assert written.headers["Location"] == f"/api/v1/operations/{written.json['operation']}"
    assert node.get(written.headers["Location"]).json["state"] == "unknown"
    assert node.revision() == first
    node.held.unlink()
    wait_for(lambda: node.get(written.headers["Location"]).json["state"] == "committed", "the write is made")
    assert node.revision() == first + 1
    assert "s1" in node.document()["pools"]["main"]["servers"]
    assert patch(node, server(2)).result().status == 200


def test_who_goes_away_leaves_the_write_going_on(held):
    node, first = held, held.revision()
    node.held.touch()
    connections = [node.unix() for _ in range(3)]
    for i, c in enumerate(connections):
        headers = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}
        c.request("PATCH", "/api/v1/config", body=json.dumps(server(i)), headers=headers)
    wait_for(lambda: node.get("/healthz").status == 200, "it answers")
    for c in connections:
        c.close()
    node.held.unlink()
    # The first was under way; those behind it are called off with who asked.
    wait_for(lambda: node.revision() > first, "the write is made")
    assert patch(node, server(9)).result().status == 200
    assert "s9" in node.document()["pools"]["main"]["servers"]


def test_the_end_waits_for_the_disk_and_not_for_an_answer(held):
    node = held
    node.held.touch()
    asked = [patch(node, server(i)) for i in range(3)]
    wait_for(lambda: node.get("/healthz").status == 200, "it answers")
    node.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "event=stopping" in node.log, "it is told")
    node.held.unlink()
    assert node.process.wait(15) == 0, node.log
    node.start()
    assert node.get("/readyz").status == 200
    del asked


def test_a_disk_that_hangs_does_not_keep_who_insists_from_ending_it(held):
    node = held
    node.held.touch()
    asked = patch(node, server(1))
    wait_for(lambda: node.get("/healthz").status == 200, "it answers")

    def ended():
        node.process.send_signal(signal.SIGTERM)
        return node.process.poll() is not None

    wait_for(ended, "it ends")
    node.held.unlink()
    node.start()
    assert node.get("/readyz").status == 200
    del asked


@pytest.mark.parametrize("seed", [1, 2])
def test_readers_writers_and_leavers(node, seed):
    """Whatever they do, it goes on, and what was answered 200 is there."""
    chance, kept = random.Random(seed), set()
    asked = {}
    for i in range(60):
        what = chance.randrange(4)
        if what == 0:
            c = node.unix()
            c.request("PATCH", "/api/v1/config", body=json.dumps(server(i)), headers={"If-Match": "*"})
            c.close()
        elif what == 1:
            node.get("/api/v1/status")
        else:
            asked[i] = patch(node, server(i))
    for i, a in asked.items():
        assert a.result().status == 200
        kept.add(f"s{i}")
    assert kept <= node.document()["pools"]["main"]["servers"].keys()
    node.kill()
    node.start()
    assert kept <= node.document()["pools"]["main"]["servers"].keys()
