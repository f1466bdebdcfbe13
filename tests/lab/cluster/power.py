# SPDX-License-Identifier: Apache-2.0
"""All nodes lose their power while writes are half on their disks.

The hard thing is the moment. A disk of memory syncs in no time, so that there would be nothing to lose: disks are made slow, each
by another delay, and the power goes right behind an answer, when some disks have that write for good, another one only seemingly,
and the next writes stand in the files.
"""
from tests.lab.cluster.node import black_out
from tests.lab.cluster.waiting import Seen, until

LOG = "lib/store.log"  # on the disk of the state
SYNC_MS = (200, 300, 400)
MADE = 3  # writes answered after the disks were made slow: those before had begun on fast ones
SECONDS = 40


def await_made(writers, count, what):
    """So many more writes are answered as made."""
    wanted = writers.done() + count
    until(lambda: Seen(writers.done() >= wanted or writers.trouble, (writers.counts(), writers.trouble)), SECONDS, what)


def strike(nodes, writers, torn=False, seed=0, turn=0):
    """Power goes on all nodes during writes; `turn` says which disk is the slowest. Returns what black_out() returns."""
    for i, node in enumerate(nodes):
        node.slow_disk(SYNC_MS[(i + turn) % len(SYNC_MS)])
    await_made(writers, MADE, "writes are made on slow disks")
    lost = black_out(nodes, torn, seed)
    for node in nodes:
        node.slow_disk(0)
    return lost
