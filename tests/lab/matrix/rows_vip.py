# SPDX-License-Identifier: Apache-2.0
"""Rows about the programs of a node and its virtual address: 1 to 9, 11 and 18.

The hard thing is to tell who answered from who has the address: a machine whose programs stand still goes on answering ARP and
SYN. So times are taken from the prober, which says whose answer it was, and from the kernels' own notices.
"""
import os
import signal

from tests.lab.cluster import product
from tests.lab.cluster.host import children_of, state_of
from tests.lab.cluster.node import ABORT_SECONDS, RESTART_SECONDS
from tests.lab.cluster.waiting import LabError, Seen, until
from tests.lab.matrix.bench import DAEMON_WATCHDOG, HA_WATCHDOG, SECONDS, SLACK, STATUS, asked, now
from tests.lab.matrix.frame import row
from tests.lab.matrix.said import expect

SILENCE = 1.0  # a daemon or a worker that says nothing for so long is at fault
HANG = 5.0  # and then it is ended
LEASE = 3.0  # an address that nobody renews
LEFT = 4.0  # no address is left longer than this after any crash of what holds it
NOT_RETURNED = 2.0  # what a node sends does not come back to it
HUNG_TOLD = NOT_RETURNED + 8.0  # and longer than a ring that forms anew
HUNG_COROSYNC = 30.0
LOOK = 0.25  # how often a node looks at its own programs
STARVED_PERCENT = 2  # of one processor, for all programs of a node
LINK_TRUSTED = 11.0  # a link that is new, or was down, has ten times as long to answer; with every second up once less (libknet)
REPORT = 1.0  # how often nodes report to one another


def keepalived(node):
    """(its first process, the one that holds addresses)."""
    parent = product.child(node, "keepalived")
    inner = children_of(parent) if parent else []
    if not inner:
        raise LabError(f"{node.name} has no whole keepalived")
    return parent, inner[0]


def runs_again(node, program, starts):
    return lambda: node.service(program).starts > starts and node.is_running(program)


def restarted(bench, row, node, bound, starts, what="postroadd is started again"):
    row.duration(what, runs_again(node, "postroadd", starts), bound, limit=SECONDS, since=row.began)


def stays(bench, row, owner):
    """The VIP was on this node, and on no other, all the time since the fault."""
    row.count("times when others had the VIP, or nobody", sum(names != (owner.name,) for _, _, names in bench.owners.intervals(row.began)), 0)


def views(node, count):
    """Whether this node is in a view of so many, and may write."""
    s = product.status(node)
    return Seen(s["corosync"]["members"] == count and s["state"] == "ACTIVE", s["corosync"])


def members_again(bench, row, node, since=None):
    row.duration(f"{node.name} is ACTIVE again", lambda: all_see(bench), since=row.began if since is None else since, limit=SECONDS)


def is_back(bench, row, node, bound):
    """The old owner is a member again, and that it came back has cost no second time without an answer."""
    members_again(bench, row, node)
    row.gap(f"VIP gap, until {node.name} is back", bound)


def all_see(bench):
    for node in bench.on():
        seen = bench.sees(node, *[n.name for n in bench.on()])
        if not seen or product.status(node)["state"] != "ACTIVE":
            return seen if not seen else Seen(False, f"{node.name} is not ACTIVE")
    return True


# ---- 1 to 3: postroadd ----


@row("1", "postroadd of the owner is killed")
def postroadd_killed(bench, row):
    owner = bench.owner()
    bound, starts = bench.skew(bench.heir(owner)) + SLACK, owner.service("postroadd").starts
    row.fault()
    owner.kill("postroadd")
    row.gap("VIP gap", bound)
    restarted(bench, row, owner, None, starts)
    is_back(bench, row, owner, bound)


@row("2", "postroadd of the owner is stopped, and ended by its watchdog")
def postroadd_stopped(bench, row):
    owner = bench.owner()
    bound, starts = SILENCE + bench.skew(bench.heir(owner)) + SLACK, owner.service("postroadd").starts
    owner.expect_end("postroadd", signal.SIGABRT, signal.SIGKILL)
    row.fault()
    owner.freeze("postroadd")
    row.taken_over("VIP answered by another node", owner, bound)
    restarted(bench, row, owner, DAEMON_WATCHDOG + ABORT_SECONDS + RESTART_SECONDS + SLACK, starts)
    is_back(bench, row, owner, bound)


@row("2", "postroadd of the owner is stopped, and goes on when its VIP has moved")
def postroadd_goes_on(bench, row):
    owner = bench.owner()
    bound = SILENCE + bench.skew(bench.heir(owner)) + SLACK
    row.fault()
    owner.freeze("postroadd")
    row.taken_over("VIP answered by another node", owner, bound)
    owner.thaw("postroadd")
    is_back(bench, row, owner, bound)
    row.overlap(bound=0)


@row("2", "a worker of the owner hangs")
def worker_hung(bench, row):
    owner = bench.owner()
    bound, starts = SILENCE + bench.skew(bench.heir(owner)) + SLACK, owner.service("postroadd").starts
    owner.expect_end("postroadd", signal.SIGABRT)
    row.fault(bench.hang(owner, "postroadd", "worker 1").since)
    row.taken_over("VIP answered by another node", owner, bound)
    restarted(bench, row, owner, HANG + ABORT_SECONDS + RESTART_SECONDS + SLACK + LOOK, starts)
    is_back(bench, row, owner, bound)


@row("2", "the control thread of the owner hangs")
def control_hung(bench, row):
    owner = bench.owner()
    bound, starts = SILENCE + bench.skew(bench.heir(owner)) + SLACK, owner.service("postroadd").starts
    owner.expect_end("postroadd", signal.SIGABRT)
    row.fault(bench.hang(owner, "postroadd").since)
    row.taken_over("VIP answered by another node", owner, bound)
    restarted(bench, row, owner, HANG + ABORT_SECONDS + RESTART_SECONDS + SLACK + LOOK, starts)
    is_back(bench, row, owner, bound)


@row("3", "the thread that speaks to corosync hangs on the owner")
def cluster_thread_hung(bench, row):
    owner = bench.owner()
    bound, starts = bench.skew(bench.heir(owner)) + SLACK, owner.service("postroadd").starts
    owner.expect_end("postroadd", signal.SIGABRT)
    hang = bench.hang(owner, "postroadd", "cluster")
    row.fault(hang.since)
    row.mail.await_accepted(50)
    row.count("the hang ended before 50 messages had passed", int(not hang.is_standing()), 0)
    stays(bench, row, owner)
    restarted(bench, row, owner, HANG + ABORT_SECONDS + RESTART_SECONDS + SLACK + LOOK, starts)
    row.gap("VIP gap, when the process was ended", bound)
    is_back(bench, row, owner, bound)


# ---- 4, 5: corosync ----


@row("4", "corosync of the owner is killed", mail_goes_on=True)
def corosync_killed(bench, row):
    owner, before = bench.owner(), bench.rings()
    bound = bench.member_lost()
    pid = product.child(owner, "corosync")
    row.fault()
    os.kill(pid, signal.SIGKILL)
    row.duration("the node knows that it is cut off", lambda: product.status(owner)["state"] == "OFFLINE", SLACK, since=row.began)
    row.count("a write was taken meanwhile", int(bench.write(owner, 21) == 200 and product.status(owner)["state"] != "ACTIVE"), 0)
    for node in bench.others(owner):
        row.duration(f"{node.name} has a new view", lambda n=node: product.status(n)["corosync"]["ring"] != before[n.name], bound,
                     since=row.began)
    members_again(bench, row, owner)
    stays(bench, row, owner)


def corosync_stops(bench, row, owner):
    bound, rest = bench.member_lost(), [n.name for n in bench.others(owner)]
    pid = product.child(owner, "corosync")
    row.fault()
    os.kill(pid, signal.SIGSTOP)
    for node in bench.others(owner):
        row.duration(f"{node.name} has a new view", lambda n=node: views(n, len(rest)), bound, since=row.began)
    row.duration("the node warns of it", lambda: warning(owner, "corosync_hung"), HUNG_TOLD + 2 * REPORT + SLACK, since=row.began)
    return pid


@row("5", "corosync of the owner is stopped, and goes on", mail_goes_on=True)
def corosync_stopped(bench, row):
    owner = bench.owner()
    pid = corosync_stops(bench, row, owner)
    bench.await_written(bench.heir(owner), 31)
    os.kill(pid, signal.SIGCONT)
    members_again(bench, row, owner, since=now())
    stays(bench, row, owner)


@row("5", "corosync of the owner is stopped, until postroad-ha ends it", mail_goes_on=True)
def corosync_ended(bench, row):
    owner = bench.owner()
    pid = corosync_stops(bench, row, owner)
    row.duration("it is killed", lambda: state_of(pid) in "XZ", NOT_RETURNED + HUNG_COROSYNC + REPORT, limit=SECONDS, since=row.began)
    members_again(bench, row, owner)
    stays(bench, row, owner)


# ---- 6, 7: keepalived and postroad-ha ----


def vip_leaves(bench, row, owner, gap=None):
    """What holds for every death of what holds an address."""
    row.let_go("the address is gone from its node", owner, LEFT)
    row.taken_over("VIP answered by another node", owner)
    row.gap("VIP gap", gap)
    row.overlap(bound=LEASE)


@row("6", "keepalived of the owner: the process with the addresses is killed")
def vrrp_killed(bench, row):
    owner = bench.owner()
    gap = bench.master_down(bench.heir(owner)) + SLACK
    pid = keepalived(owner)[1]
    row.fault()
    os.kill(pid, signal.SIGKILL)
    vip_leaves(bench, row, owner, gap)


@row("6", "keepalived of the owner: its first process is killed")
def keepalived_killed(bench, row):
    owner = bench.owner()
    gap = bench.master_down(bench.heir(owner)) + SLACK
    pid = keepalived(owner)[0]
    row.fault()
    os.kill(pid, signal.SIGKILL)
    vip_leaves(bench, row, owner, gap)


@row("6", "keepalived of the owner: both processes are killed")
def keepalived_both_killed(bench, row):
    owner = bench.owner()
    gap = bench.master_down(bench.heir(owner)) + SLACK
    pids = keepalived(owner)
    row.fault()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    vip_leaves(bench, row, owner, gap)


@row("6", "keepalived of the owner: the process with the addresses is stopped, and goes on")
def vrrp_stopped(bench, row):
    owner = bench.owner()
    gap = bench.master_down(bench.heir(owner)) + SLACK
    pid = keepalived(owner)[1]
    row.fault()
    os.kill(pid, signal.SIGSTOP)
    vip_leaves(bench, row, owner, gap)
    went_on = now()
    os.kill(pid, signal.SIGCONT)
    bench.await_well()
    row.overlap("VIP on two nodes since it goes on", bound=0, since=went_on)


@row("7", "postroad-ha of the owner is killed")
def ha_killed(bench, row):
    owner = bench.owner()
    row.fault()
    owner.kill("postroad-ha")
    vip_leaves(bench, row, owner, LEFT)
    is_back(bench, row, owner, LEFT)


@row("7", "postroad-ha of the owner is killed and stays away")
def ha_gone(bench, row):
    owner = bench.owner()
    bench.withhold(owner, "postroad-ha")
    row.fault()
    owner.kill("postroad-ha")
    vip_leaves(bench, row, owner, LEFT)


@row("7", "postroad-ha and keepalived of the owner are killed at once and stay away")
def ha_and_keepalived_gone(bench, row):
    owner = bench.owner()
    bench.withhold(owner, "postroad-ha")
    pids = keepalived(owner)
    row.fault()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # or it would have time to let go when its parent dies
    owner.send_signal("postroad-ha", signal.SIGKILL)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    vip_leaves(bench, row, owner, LEFT)


@row("7", "postroad-ha of the owner is stopped, and ended by its watchdog")
def ha_stopped(bench, row):
    owner = bench.owner()
    starts = owner.service("postroad-ha").starts
    owner.expect_end("postroad-ha", signal.SIGABRT, signal.SIGKILL)
    row.fault()
    os.kill(owner.pid_of("postroad-ha"), signal.SIGSTOP)
    vip_leaves(bench, row, owner, LEFT)
    row.duration("it is started again", runs_again(owner, "postroad-ha", starts), HA_WATCHDOG + REPORT + ABORT_SECONDS + RESTART_SECONDS
                 + SLACK, since=row.began)
    is_back(bench, row, owner, LEFT)


# ---- 8: the machine ----


@row("8", "the owner loses its power")
def power_lost(bench, row):
    owner = bench.owner()
    heir = bench.heir(owner)
    bound, view = bench.master_down(heir) + SLACK, bench.member_lost()
    rest = [n.name for n in bench.others(owner)]
    row.fault()
    owner.power_off(torn=True)
    row.gap("VIP gap", bound)
    for node in bench.others(owner):
        row.duration(f"{node.name} has a new view", lambda n=node: views(n, len(rest)), view, since=row.began)
    bench.await_written(heir, 81)
    row.duration("its silence is told", lambda: Seen((why := bench.vip(heir)["nodes"][owner.name]["why"]) == "it is not heard any more", why),
                 since=row.began)


# ---- 9, 11: networks ----


def links(node):
    """{(peer, link): whether it is up}, as this node reports it."""
    said = asked(node, "/api/v1/nodes")["nodes"][node.name]["links"]
    return {(s["node"], s["link"]): s["up"] for s in said}


def link_is(bench, cut, up):
    """All see this node's first link as up, or as down; the second one is up."""
    names = [n.name for n in bench.nodes]
    wanted = {name: {(peer, link): up or link != 0 or cut.name not in (name, peer)
                     for peer in names if peer != name for link in range(len(bench.networks))} for name in names}

    def look():
        seen = {n.name: links(n) for n in bench.nodes}
        return Seen(seen == wanted, seen)
    return look


def await_trusted_links(bench):
    """All links are up, and have been for so long that corosync is quick again to notice that one is silent."""
    until(link_is(bench, bench.nodes[0], True), SECONDS, "all links are up")
    up = now()
    until(lambda: now() - up >= LINK_TRUSTED, 2 * LINK_TRUSTED, "the links have been up for a while")


def one_link(bench, row, fault):
    await_trusted_links(bench)
    owner, before = bench.owner(), bench.rings()
    node = bench.heir(owner)
    row.fault()
    fault(node)
    row.duration("all know that the link is down", link_is(bench, node, False), since=row.began)
    for weight, writer in enumerate(bench.nodes, 91):
        row.count(f"a write through {writer.name} was not answered 200", int(bench.write(writer, weight) != 200), 0)
    healed = now()
    bench.lab.lan.heal()
    row.duration("all know that it is up", link_is(bench, node, True), since=healed)
    row.count("changes of view", sum(ring != before[name] for name, ring in bench.rings().items()), 0)
    stays(bench, row, owner)


@row("9", "one of two cluster links: its cable is pulled", networks=("cluster", "lan"), mail_goes_on=True)
def link_cut(bench, row):
    one_link(bench, row, lambda node: bench.lab.lan.cut(node.name, "cluster"))


@row("9", "one of two cluster links: nothing passes it", networks=("cluster", "lan"), mail_goes_on=True)
def link_silent(bench, row):
    one_link(bench, row, lambda node: bench.lab.lan.silence(node.name, "cluster"))


def warning(node, key):
    return any(w["key"] == key for w in asked(node, STATUS)["warnings"])


@row("11", "the LAN is cut between the owner and the others, the cluster network is up")
def lan_halved(bench, row):
    owner = bench.owner()
    heir = bench.heir(owner)
    key, down, advert = f"vip_twice/{bench.names[0]}", bench.master_down(heir) + SLACK, bench.advert()
    before = bench.rings()
    row.fault()
    bench.lab.lan.partition([[owner.name], [n.name for n in bench.others(owner)]], "lan")
    row.duration("the other half has it too", lambda: bench.owners.taken_by(heir.name, row.began), down, since=row.began)
    both = now()
    for node in bench.nodes:
        # A report, a second one that repeats it (both have said so for a second then), and the turn that looks.
        row.duration(f"{node.name} warns of it", lambda n=node: warning(n, key), 4 * REPORT + SLACK, since=both)
    row.count("nodes that do not show both", sum(len(bench.vip(n)["holders"]) != 2 for n in bench.nodes), 0)
    row.mail.await_accepted(20)
    healed = now()
    bench.lab.lan.heal()
    until(lambda: Seen(len(bench.owners.now()) == 1, bench.owners.now()), SECONDS, "one node has the VIP")
    row.overlap("VIP on two nodes since the networks are one", advert + SLACK, since=healed)
    for node in bench.nodes:
        until(lambda n=node: not warning(n, key), SECONDS, f"{node.name} warns no more")
    row.count("changes of view", sum(ring != before[name] for name, ring in bench.rings().items()), 0)
    row.gap("VIP gap since the networks are one", advert + SLACK, since=healed)


# ---- 18: a machine without time ----


@row("18", "the owner pauses until another node has its VIP")
def paused_shortly(bench, row):
    owner = bench.owner()
    down, advert = bench.master_down(bench.heir(owner)) + SLACK, bench.advert()
    row.fault()
    owner.pause()
    row.duration("another node has the VIP", lambda: any(bench.owners.taken_by(n.name, row.began) for n in bench.others(owner)), down,
                 since=row.began)
    went_on = now()
    owner.resume()
    members_again(bench, row, owner, since=went_on)
    bench.await_well()
    row.overlap("VIP on two nodes since it goes on", bound=advert + SLACK, since=went_on)


@row("18", "the owner pauses until its kernel has let go of the VIP")
def paused_longer(bench, row):
    owner = bench.owner()
    down = bench.master_down(bench.heir(owner)) + SLACK
    row.fault()
    owner.pause()
    row.duration("another node has the VIP", lambda: any(bench.owners.taken_by(n.name, row.began) for n in bench.others(owner)), down,
                 since=row.began)
    row.let_go("the address is gone from its node", owner, LEFT)
    went_on = now()
    owner.resume()
    members_again(bench, row, owner, since=went_on)
    bench.await_well()
    row.overlap("VIP on two nodes since it goes on", bound=0, since=went_on)
    row.gap("VIP gap", since=went_on)


@row("18", "the owner gets too little processor time")
def starved(bench, row):
    owner = bench.owner()
    gap, advert = bench.master_down(bench.heir(owner)) + SLACK, bench.advert()
    for program in ("postroadd", "postroad-ha"):  # which are not to tell a thread without time from one that hangs
        owner.expect_end(program, signal.SIGABRT, signal.SIGKILL)
    row.fault()
    starve = bench.starve(owner, STARVED_PERCENT)
    row.mail.await_accepted(200, SECONDS)
    row.gap("VIP gap", gap)
    row.overlap("VIP on two nodes while it is starved", bound=LEASE)
    expect(starve.throttled() > 0, "it was made to wait for its processor")
    went_on = now()
    starve.release()
    bench.hung.remove(starve)
    members_again(bench, row, owner, since=went_on)
    bench.await_well()
    row.overlap("VIP on two nodes since it has time again", bound=advert + SLACK, since=went_on)
