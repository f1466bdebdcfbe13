# SPDX-License-Identifier: Apache-2.0
"""Rows about disks: all of them without power at once, slow, full, and with what they held damaged or old: 14, 15, 16 and 20."""
import shutil
import statistics
import time

from tests.lab.cluster import power, product
from tests.lab.cluster.disk import bytes_lost
from tests.lab.cluster.registers import WEIGHTS, Weight, Writers
from tests.lab.cluster.waiting import Seen, until
from tests.lab.matrix.bench import CALL_SECONDS, SECONDS, asked, now
from tests.lab.matrix.frame import row
from tests.lab.matrix.said import expect, quiet, warned

FULL_SECONDS, RESYNC_SECONDS = 30, 60
SLOW_MS, WARNED_MS = 400, 2500
WRITES = 15
BUSY = 12  # more writers than usual, for writes that are under way when the power goes
TURNS, LEAST, AFTER = 3, 40, 5  # losses of power; writes made before each, and after


def votes(node):
    """Whether the node's log counts; false while it says that it does not vote."""
    return quiet(node, "no_vote")


def busy_writers(bench, turn):
    """Each turn has weights of its own."""
    calls = {n.name: lambda *a, node=n: node.call(*a, timeout=CALL_SECONDS) for n in bench.nodes}
    return Writers(calls, [Weight("mta", "sink2", WEIGHTS[turn::TURNS])], BUSY, f"power{turn}", give_up=CALL_SECONDS * 2).start()


def await_same_weight(bench):
    """All nodes say the same of what the busy writers write."""
    def same():
        said = {n.name: asked(n, "/api/v1/pools/mta")["servers"]["sink2"]["weight"] for n in bench.nodes}
        return Seen(len(set(said.values())) == 1, said)
    until(same, SECONDS, "all nodes have the same weight")


def commit_seconds(bench, nodes, values):
    """How long each write through these nodes takes, one after the other."""
    times = []
    for i in range(WRITES):
        began = time.monotonic()
        expect(bench.write(nodes[i % len(nodes)], next(values)) == 200, "a write is answered 200")
        times.append(time.monotonic() - began)
    return times


def measure_commit(bench, row, what, nodes, values, bound=None):
    times = commit_seconds(bench, nodes, values)
    row.measured.append((f"a commit, {what} (median)", statistics.median(times), 0, bound))
    return times


# ---- power ----


def times_forgotten(bench):
    """How often nodes have said that one has lost what it had said to have on its disk, since the lab began."""
    return sum(n.log("postroadd").read_text(errors="replace").count("msg=\"store_untrusted") for n in bench.nodes)


def writes_again(bench, row, node, began, forgotten):
    """The wait ends early where nodes have forgotten: a majority of them would never write again."""
    def writes():
        return Seen((code := bench.write(node, 1)) == 200 or times_forgotten(bench) > forgotten, code)
    row.duration(f"{node.name} writes again after the boot", writes, since=began, limit=SECONDS)
    expect(times_forgotten(bench) == forgotten, "a node has lost what it had said to have on its disk")


@row("14", "the whole cluster loses its power during writes, three times")
def power_lost_by_all(bench, row):
    dropped = 0
    for turn in range(TURNS):
        await_same_weight(bench)
        writers = busy_writers(bench, turn)
        try:
            dropped += lose_power_and_return(bench, row, writers, turn)
        finally:
            writers.stop()
    row.count("bytes of the log that were not synced and are gone", dropped)
    expect(dropped > 0, "no write stood in a file without being on its disk: nothing was shown")


def lose_power_and_return(bench, row, writers, turn):
    """Returns how many bytes of logs were lost."""
    power.await_made(writers, LEAST, "writes are under way")
    forgotten = times_forgotten(bench)
    lost = power.strike(bench.nodes, writers, True, turn, turn)
    for node in bench.nodes:
        node.power_on()
    began = now()
    for node in bench.nodes:
        writes_again(bench, row, node, began, forgotten)
    bench.await_active()
    power.await_made(writers, AFTER, "the writers go on")
    writers.stop()
    await_same_weight(bench)
    findings = writers.finish(stale_reads=True, least=LEAST + power.MADE + AFTER)
    expect(not findings, f"turn {turn}: {findings}; the disks lost {lost}")
    row.count(f"more writes, {writers.counts()}", writers.done())
    return bytes_lost(lost, power.LOG)


# ---- slow ----


@row("15", "the disk of one is slow", mail_goes_on=True)
def slow_disk(bench, row):
    values = iter(range(200, 900))
    donor = bench.node(product.status(bench.nodes[0])["donor"])
    measure_commit(bench, row, "all disks well", bench.nodes, values)
    for what, slow in (("another's", bench.others(donor)[0]), ("the donor's", donor)):
        slow.slow_disk(SLOW_MS)
        # It would be more than the delay of the slow disk, were that one waited for.
        measure_commit(bench, row, f"{what} disk slow", bench.others(slow), values, SLOW_MS / 1000 / 2)
        slow.slow_disk(0)
    for node in bench.nodes:
        node.slow_disk(SLOW_MS)
    times = measure_commit(bench, row, "all disks slow", bench.nodes, values)
    expect(min(times) >= SLOW_MS / 1000, f"a write is answered 200 after {min(times):.3f} s, and no disk syncs in {SLOW_MS} ms")
    for node in bench.nodes:
        node.slow_disk(0)
    slow.slow_disk(WARNED_MS)
    expect(bench.write(bench.others(slow)[0], next(values)) == 200, "a write is answered 200")
    began = now()
    row.duration("more than 2 s is warned of", lambda: warned(slow, "disk_slow"), since=began)
    slow.slow_disk(0)

    def is_over():
        bench.write(bench.others(slow)[0], next(values))
        return quiet(slow, "disk_slow")
    row.duration("and over when it is fast again", is_over)


# ---- full ----


@row("16", "the disk of one is full", mail_goes_on=True)
def full_disk_of_one(bench, row):
    full = bench.owner()
    others = bench.others(full)
    row.fault()
    full.full_disk()
    bench.await_written(others[0], 161)
    row.duration("the alarm", lambda: warned(full, "disk"), FULL_SECONDS, since=row.began, limit=2 * FULL_SECONDS)
    row.duration("it does not vote", lambda: not votes(full), FULL_SECONDS, since=row.began, limit=2 * FULL_SECONDS)
    row.mail.await_accepted(20)
    bench.await_written(others[1], 162)
    expect(bench.owners.now() == [full.name] and not bench.owners.absences(row.began), "the VIP stays")
    # Corosync's state is elsewhere: a new view needs a file to be written.
    rings = bench.rings()
    others[0].run(["pkill", "-KILL", "-x", "corosync"])
    until(lambda: bench.rings()[full.name] != rings[full.name] and product.status(full)["corosync"]["connected"], SECONDS, "a new view")
    bench.await_active(others)
    bench.await_written(others[1], 163)
    full.free_disk()
    freed = now()
    row.duration("it votes again", lambda: votes(full) and quiet(full, "disk"), since=freed)


@row("16", "the disks of two of three are full", mail_goes_on=True)
def full_disks_of_two(bench, row):
    full = bench.others(bench.nodes[0])
    row.fault()
    for node in full:
        node.full_disk()

    def refused():
        codes = [bench.write(n, 164) for n in bench.nodes]
        return Seen(all(c in (503, 507) for c in codes), codes)
    row.duration("writes are refused on all", refused, FULL_SECONDS, since=row.began, limit=2 * FULL_SECONDS)
    for node in full:
        row.duration(f"the alarm of {node.name}", lambda n=node: warned(n, "disk"), FULL_SECONDS, since=row.began, limit=2 * FULL_SECONDS)
    row.mail.await_accepted(20)
    for node in full:
        node.free_disk()
    freed = now()
    for i, node in enumerate(bench.nodes):
        row.duration(f"{node.name} writes again", lambda n=node, v=165 + i: Seen((c := bench.write(n, v)) == 200, c), since=freed)


@row("16", "corosync's own file system is full on one", mail_goes_on=True)
def full_corosync(bench, row):
    full = bench.owner()
    others = bench.others(full)
    # The file that is there could be written over in place: one that is not cannot be made.
    full.run(["sh", "-c", "rm -f /var/lib/corosync/ringid_*"])
    full.full_disk("corosync")
    others[0].run(["pkill", "-KILL", "-x", "corosync"])
    row.duration("it is OFFLINE", lambda: Seen((s := product.status(full))["state"] == "OFFLINE", s))
    row.duration("the others go on", lambda: Seen((c := bench.write(others[1], 168)) == 200, c))
    row.mail.await_accepted(20)
    expect(bench.owners.now() == [full.name] and not bench.owners.absences(row.began), "the VIP stays")
    full.free_disk()
    freed = now()
    row.duration("it is ACTIVE once there is room", lambda: Seen((s := product.status(full))["state"] == "ACTIVE", s), since=freed)


# ---- damaged, and old ----


def log_of(node):
    return node.stable.seen(node.name, "state") / power.LOG


def damage(path):
    """In the first half: what is behind it was durable long ago."""
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 4, len(data) // 4 + 64):
        data[at] ^= 0xFF
    path.write_bytes(data)


def comes_back(bench, row, node, value):
    node.power_on()
    began = now()
    row.duration("it is back and has the log", lambda: resynced(node, value), RESYNC_SECONDS, since=began, limit=2 * RESYNC_SECONDS)


def resynced(node, value):
    try:
        s = product.status(node)
        known = asked(node, "/api/v1/pools/mta")["servers"]["sink1"]["weight"]
        return Seen(s["state"] == "ACTIVE" and s["members"][node.name].get("synced") and known == value and votes(node), (s, known))
    except OSError as e:
        return Seen(False, repr(e))


@row("20", "what the disk of one holds is damaged")
def damaged_log(bench, row):
    node = bench.owner()
    for value in range(201, 206):
        bench.await_written(node, value)
    node.power_off()
    damage(log_of(node))
    bench.await_written(bench.others(node)[0], 206)
    comes_back(bench, row, node, 206)
    expect(warned(node, "store"), "the damage is told")
    row.gap("VIP gap")


@row("20", "the disk of one is an old copy")
def old_log(bench, row):
    node, other = bench.owner(), bench.heir(bench.owner())
    path = log_of(node)
    bench.await_written(other, 207)
    node.power_off()
    shutil.copyfile(path, bench.lab.home / "old-copy")
    node.power_on()
    bench.await_active()
    for value in range(208, 213):
        bench.await_written(other, value)
    node.power_off()
    shutil.copyfile(bench.lab.home / "old-copy", path)
    bench.await_written(other, 213)
    comes_back(bench, row, node, 213)
    expect(any(warned(n, "store_untrusted") for n in bench.nodes), "that a disk is an old copy is told")


@row("20", "a founder alone, its log damaged, does not start", nodes=1, fresh=True, judges_writes=False)
def founder_alone(bench, row):
    node = bench.nodes[0]
    for value in range(214, 220):
        bench.await_written(node, value)
    node.power_off()
    path = log_of(node)
    whole = path.read_bytes()
    damage(path)
    node.expect_end("postroadd", 1)
    node.power_on()
    until(lambda: Seen("store.log" in (t := node.tail("postroadd", 4000)) and "damaged" in t, node.tail("postroadd", 4000)), SECONDS,
          "it says which file is damaged")
    expect(not node.is_ready(), "it does not serve")
    node.power_off()
    path.write_bytes(whole)
    node.power_on()
    row.duration("with the log as it was it serves", node.is_ready)
