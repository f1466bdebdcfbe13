# SPDX-License-Identifier: Apache-2.0
"""Rows about the programs of a node and its virtual address: 1 to 9, 11 and 18."""
from tests.lab.matrix.bench import SLACK
from tests.lab.matrix.frame import row


@row("1", "postroadd of the owner is killed")
def postroadd_killed(bench, row):
    owner = bench.owner()
    heir = bench.heir(owner)
    bound = bench.skew(heir) + SLACK
    owner.kill("postroadd")
    row.gap("VIP gap", bound)
    row.duration("it is a member again", lambda: bench.sees(heir, *bench.lab.names), since=row.began)


@row("8", "the owner loses its power")
def power_lost(bench, row):
    owner = bench.owner()
    heir = bench.heir(owner)
    bound, view = bench.master_down(heir) + SLACK, bench.member_lost()
    owner.power_off(torn=True)
    row.gap("VIP gap", bound)
    rest = [n.name for n in bench.others(owner)]
    for node in bench.others(owner):
        row.duration(f"{node.name} has a new view", lambda n=node: bench.sees(n, *rest), view, since=row.began)
    bench.await_written(heir, 11)
