# SPDX-License-Identifier: Apache-2.0
"""postroad-ha and real keepalived on three nodes: a VIP has one owner, and whatever is killed or stopped, none stays behind.

Needs root and `make peers`. Times are printed beside their bounds; asserted is only that a move happens at all within the
four seconds that no address may survive its holder.
"""
import contextlib
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.lab.ha_lan import ADVERT, BUILD, Lan, PRIORITIES, Talker, Vip, greet, ip, process_state, until

pytestmark = [pytest.mark.long,
              pytest.mark.skipif(os.geteuid() != 0 or not (BUILD / "peers/keepalived/.unpacked").exists(),
                                reason="needs root and tests/peers/unpack keepalived")]

GONE = 4.0  # no address outlives its holder by more
SKEW = (256 - PRIORITIES[1]) * ADVERT / 256 / 1000
A = Vip("a", 51, ["192.0.2.101/24"])
B = Vip("b.2", 52, ["192.0.2.102/24", "2001:db8::102/64"], order=(2, 3, 1))
SIX = Vip("six", 53, ["2001:db8::106/64"], v6=True)


@pytest.fixture
def lan():
    directory = Path(tempfile.mkdtemp(prefix="postroad-ha-"))
    made = Lan(directory)
    yield made
    made.close()
    shutil.rmtree(directory, ignore_errors=True)


def say(what, gap, bound, after=None):
    told = "" if after is None else f", elsewhere after {after:.3f} s"
    print(f"  {what}: {gap:.3f} s without an answer{told}; bound {bound:.3f} s")


def move(lan, vip, what, fault, bound):
    """The owner suffers a fault; returns the old and the new one when it is over."""
    old = lan.owner(vip)
    with lan.prober(vip) as prober:
        prober.heard(1)
        begun = time.monotonic()
        fault(old)
        new = lan.moved(vip, old)
        (first, _), (second, since), *more = prober.heard(2)
        gap = prober.end()
    say(what, gap, bound, since - begun)
    assert [first, second, more] == [old.name, new.name, []] and since - begun < GONE
    return old, new


def said_by(node):
    """Every state of the node's VIPs as it reports them."""
    return {name: v["state"] for name, v in node.report()["vips"].items()}


def test_each_vip_has_one_owner_and_it_is_the_first_in_order(lan):
    lan.up([A, B])
    assert lan.owner(A) is lan.nodes[0] and lan.owner(B) is lan.nodes[1]
    until(lambda: lan.nodes[1].has("2001:db8::102"), "the second address of a VIP is there too")
    assert not lan.nodes[0].has("2001:db8::102")
    report = until(lambda: r if (r := lan.nodes[1].report())["vips"].get("b.2", {}).get("present") == 2 else None, "the report")
    assert report["keepalived"] and report["vips"]["b.2"]["up"] and report["vips"]["b.2"]["priority"] == 250
    assert report["vips"]["a"]["present"] == 0


def test_nothing_is_taken_before_it_is_said_that_it_may_be(lan):
    node = lan.nodes[0]
    node.start_ha()
    node.start_driver()
    node.table(1, [A])
    until(lambda: node.report()["vips"].get("a", {}).get("state") == "fault", "keepalived says fault")
    assert not node.has("192.0.2.101")
    node.tell("health a=1")
    until(lambda: node.has("192.0.2.101"), "it takes the VIP")


def test_postroadd_killed(lan):
    lan.up([A])

    def kill(node):
        node.driver.kill()
    move(lan, A, "postroadd killed", kill, SKEW + 0.1)


def test_postroadd_hung(lan):
    lan.up([A])
    old, _ = move(lan, A, "postroadd hung", lambda n: n.driver.send_signal(signal.SIGSTOP), 1.0 + SKEW + 0.1)
    old.driver.send_signal(signal.SIGCONT)
    until(lambda: said_by(old)["a"] == "backup", "it is well again, and the VIP stays where it is")


def fill(pipe):
    """Nobody's line finds room in it any more."""
    own = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"." * size)
    os.close(own)


def test_nobody_reads_its_log(lan):
    owner = lan.nodes[0]
    reader, owner.log_to = os.pipe()
    lan.up([A])
    with lan.prober(A) as prober:
        prober.heard(1)
        fill(owner.log_to)
        for number in range(2, 22):
            owner.tell(A.line(1).replace("eth0", "eth7"), f"table {number}")
            until(lambda: [e for e in owner.all_heard("error") if e["generation"] == number], "it is refused, with a line in the log")
        gap = prober.end()
        assert [who for who, _ in prober.who] == [owner.name] and lan.owners(A) == [owner]
    say("log not read", gap, 0.1)
    owner.ha.terminate()
    assert owner.ha.wait(20) == 0, "it can be told to end"
    os.close(owner.log_to)
    with open(reader, "rb") as log:
        assert b"event=stop " not in log.read(), "what nobody read in time is lost"


def test_told_to_let_go_and_failback(lan):
    back = Vip("back", 54, ["192.0.2.104/24"], failback=True)
    lan.up([A, back])
    move(lan, A, "fault by hand", lambda n: n.tell("health back=1 a=0"), SKEW + 0.1)
    lan.nodes[0].tell("health back=0 a=1")
    lan.moved(back, lan.nodes[0])
    lan.nodes[0].tell("health back=1 a=1")
    until(lambda: lan.owners(back) == [lan.nodes[0]], "the better node takes back what fails back")
    assert lan.owner(A) is lan.nodes[1]


@pytest.mark.parametrize("which", ["child", "parent", "both"])
def test_keepalived_killed(lan, which):
    lan.up([A])

    def kill(node):
        parent, child = node.keepalived_pids()
        for pid in {"child": [child], "parent": [parent], "both": [parent, child]}[which]:
            os.kill(pid, signal.SIGKILL)
    old, _ = move(lan, A, f"keepalived: {which} killed", kill, 3 * ADVERT / 1000 + SKEW + 0.5)
    until(lambda: said_by(old).get("a") == "backup", lambda: f"keepalived runs again\n{old.log()}")
    assert len(lan.owners(A)) == 1


def test_vrrp_process_stopped(lan):
    lan.up([A])
    stopped = []

    def stop(node):
        stopped.append(node.keepalived_pids()[1])
        os.kill(stopped[0], signal.SIGSTOP)
    old, new = move(lan, A, "vrrp stopped", stop, 3 * ADVERT / 1000 + SKEW + 0.1)
    assert process_state(stopped[0]) == "T" and not old.report()["keepalived"]
    os.kill(stopped[0], signal.SIGCONT)
    until(lambda: said_by(old)["a"] == "backup", "it goes on as a backup")
    assert lan.owner(A) is new


def test_postroad_ha_killed_leaves_no_address(lan):
    lan.up([A])
    old, new = move(lan, A, "postroad-ha killed", lambda n: n.kill_ha(), 4.0)
    until(lambda: not old.inside() or old.inside() == [old.responder.pid], "keepalived ends with it")
    old.start_ha()
    until(lambda: said_by(old).get("a") == "backup", "the driver finds the new one, and says all again")
    assert lan.owner(A) is new


def test_postroad_ha_and_keepalived_killed_at_once_leaves_no_address(lan):
    lan.up([A, SIX])

    def kill(node):
        pids = node.keepalived_pids()
        os.kill(node.ha.pid, signal.SIGKILL)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        node.ha.wait()
    old, _ = move(lan, A, "postroad-ha and both keepaliveds killed", kill, 4.0)
    until(lambda: not old.has("2001:db8::106"), "the address of IPv6 ends too")


def test_a_start_takes_away_what_an_earlier_run_left(lan):
    lan.up([A])
    old = lan.owner(A)
    old.driver.kill()
    lan.moved(A, old)
    old.kill_ha()
    ip("-n", old.netns, "address", "add", "192.0.2.101/24", "dev", "eth0")  # for ever: as if the lease had not come in time
    old.start_ha()
    until(lambda: not old.has("192.0.2.101"), "it is taken away, though nobody has said anything yet")


def test_term_lets_go_at_once(lan):
    lan.up([A])
    old, _ = move(lan, A, "TERM", lambda n: n.ha.terminate(), SKEW + 0.1)
    assert old.ha.wait(20) == 0
    assert not old.has("192.0.2.101")


def test_node_cut_off(lan):
    lan.up([A])
    move(lan, A, "link down", lambda n: ip("-n", n.netns, "link", "set", "eth0", "down"), (3 * ADVERT / 1000 + SKEW) + 0.1)


def test_ipv6(lan):
    lan.up([SIX])
    assert lan.owner(SIX) is lan.nodes[0]
    move(lan, SIX, "IPv6: postroadd killed", lambda n: n.driver.kill(), SKEW + 0.1)


def test_a_lease_leaves_the_routes_of_the_node_alone(lan):
    other = Vip("other", 55, ["2001:db8:1::107/64"], v6=True)
    other.addresses.insert(0, "2001:db8::107/64")
    node = lan.nodes[0]

    def route(network):
        return ip("-n", node.netns, "-6", "route", "show", network, "dev", "eth0").strip()
    before = route("2001:db8::/64")
    assert before and "expires" not in before
    lan.up([SIX, other])
    assert lan.owner(SIX) is node
    for address in ("2001:db8::106", "2001:db8::107", "2001:db8:1::107"):
        until(lambda: "dynamic" in ip("-n", node.netns, "-o", "-6", "address", "show", "to", address), f"a lease of {address}")
    assert route("2001:db8::/64") == before
    assert route("2001:db8:1::/64"), "a network that only the VIP is in has its route from the VIP"
    node.tell("health six=0 other=0")
    until(lambda: not node.has("2001:db8::106") and not node.has("2001:db8:1::107"), "it lets go")
    assert route("2001:db8::/64") == before


def test_the_node_does_not_speak_from_its_vip(lan):
    lan.up([SIX, A])
    node = lan.nodes[0]
    until(lambda: "deprecated" in ip("-n", node.netns, "-o", "-6", "address", "show", "to", "2001:db8::106"), "it is not for new connections")
    assert "src 2001:db8::1 " in ip("-n", node.netns, "-6", "route", "get", "2001:db8::9")
    assert "src 192.0.2.1 " in ip("-n", node.netns, "route", "get", "192.0.2.9")


def test_a_vip_added_and_removed_moves_nothing_else(lan):
    lan.up([A])
    owner = lan.owner(A)
    with lan.prober(A) as prober:
        prober.heard(1)
        for node in lan.nodes:
            node.table(2, [A, B])
        for node in lan.nodes:
            until(lambda: node.report()["generation"] == 2, f"{node.name}: the second table")
            node.tell("health a=1 b.2=1")
        until(lambda: len(lan.owners(B)) == 1, "the new VIP has an owner")
        for node in lan.nodes:
            node.table(3, [A])
        for node in lan.nodes:
            until(lambda: node.report()["generation"] == 3, f"{node.name}: the third table")
        until(lambda: not any(n.has("192.0.2.102") or n.has("2001:db8::102") for n in lan.nodes), "the VIP has gone")
        say("tables changed", prober.end(), 0.0)
        assert [name for name, _ in prober.who] == [owner.name] and lan.owner(A) is owner
    transitions = [line for line in owner.log().splitlines() if "event=vip_state" in line and "vip=a" in line]
    assert len([t for t in transitions if "state=master" in t]) == 1


def test_priorities_and_peers_change_and_nothing_moves(lan):
    lan.up([A])
    owner = lan.owner(A)
    with lan.prober(A) as prober:
        prober.heard(1)
        turned = Vip("a", 51, A.addresses, order=(3, 2, 1))
        for node in lan.nodes:
            node.table(2, [turned])
        for node in lan.nodes:
            until(lambda: node.report()["generation"] == 2, f"{node.name}: the second table")
        said = until(lambda: r if (r := owner.report()["vips"]["a"])["present"] else None, "the owner has it")
        say("the order turned round", prober.end(), 0.0)
        assert [name for name, _ in prober.who] == [owner.name] and said["up"]
    assert lan.owner(A) is owner
    owner.driver.kill()
    assert lan.moved(A, owner) is lan.nodes[2]


def test_a_node_is_added_incumbents_first(lan):
    two = Vip("a", 51, A.addresses, order=(2, 1))
    lan.up([two])
    owner = lan.owner(two)
    assert owner is lan.nodes[1]
    three = Vip("a", 51, A.addresses, order=(3, 2, 1))
    with lan.prober(A) as prober:
        prober.heard(1)
        for node in lan.nodes:  # the third is the new one
            node.table(2, [three])
            until(lambda: node.report()["generation"] == 2, f"{node.name}: the second table")
            node.tell("health a=1")
        until(lambda: said_by(lan.nodes[2])["a"] == "backup", "the new one is a backup")
        say("a node added", prober.end(), 0.0)
        assert [name for name, _ in prober.who] == [owner.name]
    owner.driver.kill()
    assert lan.moved(A, owner) is lan.nodes[2]


def test_a_reload_with_many_vips_does_not_cost_keepalived_its_life(lan):
    def many(last):
        return [Vip(f"v{i}", i, [f"192.0.2.{100 + i}/24"]) for i in range(1, last)]
    node = lan.nodes[0]
    node.start_ha()
    node.start_driver()
    node.table(1, many(64))
    until(lambda: len(said_by(node)) == 63 and "unknown" not in said_by(node).values(), "keepalived has them all")
    node.tell("health " + " ".join(f"v{i}=1" for i in range(1, 64)))
    until(lambda: set(said_by(node).values()) == {"master"}, "it holds them all")
    before = node.keepalived_pids()
    for generation in range(2, 5):  # real time has its limit, and a reload takes long
        node.table(generation, many(63 + generation % 2))
        until(lambda: node.report()["generation"] == generation, "the table")
        until(lambda: all(node.has(f"192.0.2.{100 + i}") for i in range(1, 63)), "it holds them")
    until(lambda: node.report()["keepalived"], "it runs")
    assert node.keepalived_pids() == before


@contextlib.contextmanager
def kernel_changes(node):
    """A function for what the node's kernel has said of its addresses since: nothing is missing in its lines."""
    told = node.directory / "addresses"
    numbers = iter(range(1, 255))
    with open(told, "wb") as out:
        monitor = subprocess.Popen(["ip", "-n", node.netns, "-o", "monitor", "address"], stdout=out)

    def changes():
        mark = f"127.0.1.{next(numbers)}/32"  # it is told in order

        def seen():
            ip("-n", node.netns, "address", "replace", mark, "dev", "lo", "valid_lft", 60, "preferred_lft", 60)
            return mark in told.read_text()
        until(seen, "a change is told")
        return told.read_text().splitlines()
    try:
        changes()
        yield changes
    finally:
        monitor.kill()
        monitor.wait()


@pytest.mark.parametrize("vip", [A, SIX], ids=["ipv4", "ipv6"])
def test_a_vip_of_one_node_alone_stays_when_another_joins_and_leaves(lan, vip):
    alone = Vip(vip.name, vip.vrid, vip.addresses, order=(1,), v6=vip.v6)
    both = Vip(vip.name, vip.vrid, vip.addresses, order=(2, 1), v6=vip.v6)
    address = vip.addresses[0].split("/")[0]
    lan.up([alone])
    owner, other = lan.nodes[:2]
    assert lan.owner(alone) is owner
    pids = owner.keepalived_pids()
    with lan.prober(vip) as prober, kernel_changes(owner) as at_owner, kernel_changes(other) as at_other:
        prober.heard(1)
        for node in (owner, other):
            node.table(2, [both])
            until(lambda: node.report()["generation"] == 2, f"{node.name}: the second table")
            node.tell(f"health {vip.name}=1")
        until(lambda: said_by(other)[vip.name] == "backup", "the other is a backup")
        other.table(3, [])
        until(lambda: other.report()["generation"] == 3, f"{other.name}: the third table")
        owner.table(3, [alone])
        until(lambda: owner.report()["generation"] == 3, f"{owner.name}: the third table")
        time.sleep(2.0)  # what keepalived does by it, it does within three adverts
        gap = prober.end()
        say("a second node came and went", gap, 0.0)
        lost = [line for line in at_owner() if address in line and line.startswith("Deleted")]
        assert not lost and not [line for line in at_other() if address in line], f"it was away, or with the other: {lost}"
    assert [name for name, _ in prober.who] == [owner.name] and lan.owners(vip) == [owner] and gap < 3 * ADVERT / 1000
    log = (owner.directory / "ha.log").read_text()
    assert owner.keepalived_pids() == pids and log.count("state=master") == 1 and "send advert" not in log, log


@pytest.mark.parametrize("vip", [A, SIX], ids=["ipv4", "ipv6"])
def test_a_node_that_was_alone_is_followed_by_its_first_peer(lan, vip):
    alone = Vip(vip.name, vip.vrid, vip.addresses, order=(1,), v6=vip.v6)
    both = Vip(vip.name, vip.vrid, vip.addresses, order=(2, 1), v6=vip.v6)
    lan.up([alone])
    owner, other = lan.nodes[:2]
    for node in (owner, other):
        node.table(2, [both])
        until(lambda: node.report()["generation"] == 2, f"{node.name}: the second table")
        node.tell(f"health {vip.name}=1")
    until(lambda: said_by(other)[vip.name] == "backup", "the other is a backup")
    owner.driver.kill()
    assert lan.moved(vip, owner) is other


def test_an_address_changes_without_two_owners(lan):
    lan.up([A])
    changed = Vip("a", 51, ["192.0.2.111/24"])
    for node in lan.nodes:
        node.table(2, [changed])
    until(lambda: len(lan.owners(changed)) == 1, "the new address has an owner")
    until(lambda: not lan.owners(A), "the old one has none")


def test_a_bad_table_is_refused_with_a_reason_and_the_old_one_stays(lan):
    lan.up([A])
    owner = lan.owner(A)
    before = (owner.directory / "ha/keepalived.conf").read_text()
    # As it may be administered by: on another interface, and nothing would be left of it.
    ip("-n", owner.netns, "link", "add", "other", "type", "veth", "peer", "name", "another")
    ip("-n", owner.netns, "address", "add", "198.51.100.7/24", "dev", "other")
    for number, (line, reason) in enumerate([
            (A.line(1).replace("eth0", "eth7"), "there is no interface eth7"),
            (A.line(1).replace("192.0.2.1 ", "192.0.2.77 "), "192.0.2.77 is no address of this machine"),
            (A.line(1).replace("192.0.2.101/", "198.51.100.7/"), "198.51.100.7 is the machine's own address already")], 2):
        owner.tell(line, f"table {number}")
        error = until(lambda: [e for e in owner.all_heard("error") if e["generation"] == number], "it is refused")[0]
        assert reason in error["text"]
    assert owner.report()["generation"] == 1 and lan.owner(A) is owner
    assert (owner.directory / "ha/keepalived.conf").read_text() == before
    assert "198.51.100.7" in ip("-n", owner.netns, "-o", "address", "show", "dev", "other")
    owner.table(5, [A, B])
    until(lambda: owner.report()["generation"] == 5, "a good one is taken afterwards")


def packet(kind, body):
    return struct.pack("<BBHI", 1, kind, 0, 8 + len(body)) + body


def test_what_is_no_message_is_refused_or_ends_the_connection(lan):
    node = lan.nodes[0]
    node.start_ha()
    evil = b'eth0"\n}\nvrrp_script x {\n script "/bin/true"'
    table = struct.pack("<QH", 1, 1) + struct.pack("<H", 1) + b"a" + struct.pack("<H", len(evil)) + evil
    with greet(node) as s:
        s.send(packet(1, struct.pack("<H", 2) + b"n1"))
        assert s.recv(65536)[1] == 32
        s.send(packet(2, table))
        kinds = set()
        while 34 not in kinds:
            kinds.add(s.recv(65536)[1])
        s.send(b"\x02" + packet(4, b"\0" * 8)[1:])  # another version
        while s.recv(65536):
            pass
    assert not (node.directory / "ha/keepalived.conf").exists()


def test_only_root_and_one_user_may_connect(lan):
    node = lan.nodes[0]
    node.start_ha()
    script = ("import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(20)\n"
              "s.connect(sys.argv[1])\n"
              "try:\n s.send(bytes.fromhex('010100000c00000002006e31')); print(len(s.recv(100)))\n"
              "except OSError: print(0)\n")
    lan.directory.chmod(0o755)

    def heard(user):
        return int(subprocess.run(["/usr/bin/python3", "-c", script, str(node.directory / "run/ha.sock")], capture_output=True, text=True,
                                  timeout=30, check=True, user=user, extra_groups=[]).stdout)
    assert heard("nobody") > 0
    assert heard("daemon") == 0


@pytest.mark.parametrize("vip", [A, SIX], ids=["ipv4", "ipv6"])
def test_a_probe_sees_whether_somebody_has_the_address(lan, vip):
    lan.up([vip])
    asking = lan.nodes[2]
    asking.tell(f"probe 7 {vip.name}")
    found = asking.answer(7)
    assert found["event"] == "probed" and found["seen"] and found["mac"] == "02:00:00:00:00:01"
    for node in lan.nodes:
        node.tell(f"health {vip.name}=0")
    until(lambda: not lan.owners(vip), "nobody has it")
    asking.tell(f"probe 8 {vip.name}")
    found = asking.answer(8)
    assert found["event"] == "probed" and not found["seen"]
    asking.tell("probe 9 unknown")
    assert asking.answer(9)["event"] == "error"


def test_check_says_what_is_missing(lan):
    def check(*options):
        done = subprocess.run([BUILD / "bin/postroad-ha", "--state-dir", lan.directory / "s", "--corosync-dir", lan.directory / "c", *options],
                              capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stdout
    status, text = check("--check", "--keepalived", lan.keepalived, "--corosync", "/nowhere/corosync")
    assert status == 1 and "keepalived: good" in text and "kernel: good" in text and "memory: good" in text and "real time: good" in text and "corosync: /nowhere/corosync: No such file" in text
    assert check("--state-dir", "relative")[0] == 2 and check("--unknown")[0] == 2 and check("more")[0] == 2
    assert check("--version")[0] == 0


# ---- a planned move, and corosync ----

def test_a_planned_move_keeps_the_session(lan):
    lan.up([A])
    old, new = lan.nodes[0], lan.nodes[1]
    for node in lan.nodes:
        node.echo("192.0.2.101", 2525)
    session = Talker(lan, "192.0.2.101", 2525)
    assert session.server == "n1" and session.say("one") == "one"
    new.tell("open 1 a 192.0.2.1 30")
    assert new.answer(1)["event"] == "done"
    old.tell("keep 2 a 30", "list 3 a")
    assert old.answer(2)["event"] == "done"
    flows = old.answer(3)
    assert flows["last"] and flows["owner"] == "-" and len(flows["list"]) == 1
    assert flows["list"][0].startswith("192.0.2.101:2525 192.0.2.9:")
    new.tell("take 4 a 192.0.2.1 30 " + flows["list"][0])
    assert new.answer(4)["event"] == "done"
    old.tell("health a=0")
    assert lan.moved(A, old) is new
    assert session.say("two") == "two"
    fresh = Talker(lan, "192.0.2.101", 2525)
    assert fresh.server == "n2" and fresh.say("three") == "three"
    # Who moves it on passes on both: those that began there, and those of the first owner.
    new.tell("list 5 a")
    until(lambda: [f for f in new.all_heard("flows") if f["ticket"] == 5 and f["last"]], "the second list")
    parts = {f["owner"]: f["list"] for f in new.all_heard("flows") if f["ticket"] == 5}
    assert parts["192.0.2.1"] == flows["list"] and len(parts["-"]) == 1
    old.tell("drop 6 a", "drop 7 nowhere")
    assert old.answer(6)["event"] == "done" and old.answer(7)["event"] == "error"
    session.close()
    fresh.close()


def test_what_moves_left_in_the_kernel_can_be_cleaned_away_when_nothing_runs(lan):
    lan.up([A])
    node = lan.owner(A)

    def inside(*command):
        return subprocess.run(["ip", "netns", "exec", node.netns, *command], capture_output=True, text=True, timeout=30, check=True).stdout

    def left():
        return ["table netdev postroad" in inside("nft", "list", "tables"), "192.0.2.101" in inside("ip", "-o", "address", "show", "dev", "lo"),
                inside("sysctl", "-n", "net.ipv4.conf.eth0.arp_ignore").strip(), inside("sysctl", "-n", "net.ipv4.conf.eth0.arp_announce").strip()]
    before = left()
    node.tell("keep 1 a 3600", "health a=0")
    assert node.answer(1)["event"] == "done"
    lan.moved(A, node)
    node.driver.terminate()
    node.ha.terminate()
    assert node.ha.wait(20) == 0
    assert before == [False, False, "0", "0"] and left() == [True, True, "1", "2"]
    inside(str(BUILD / "bin/postroad-ha"), "--clean")
    assert left() == before
    inside(str(BUILD / "bin/postroad-ha"), "--clean")  # nothing is left to do


@pytest.mark.skipif(not (BUILD / "peers/corosync/.unpacked").exists(), reason="needs tests/peers/unpack corosync")
def test_corosync_is_staged_installed_run_killed_and_purged(lan):
    nodes = lan.nodes[:2]
    members = "1/n1/192.0.2.1 2/n2/192.0.2.2"
    for node in nodes:
        state = node.directory / "state"
        state.mkdir()
        node.start_ha("--run-corosync", "--corosync", lan.corosync, "--corosync-state-dir", state)
        node.start_driver()
        until(lambda: node.all_heard("report"), "it is connected")
        files = node.directory / "corosync"
        node.tell("corosync 1 start 0", "corosync 2 install 1")
        assert node.answer(1)["event"] == "error" and node.answer(2)["event"] == "error"
        node.tell(f"corosync 3 stage 1 mail 7 {members}")
        staged = node.answer(3)
        assert staged["event"] == "done" and len(staged["text"]) == 64, staged
        assert not (files / "corosync.conf").exists() and (files / "authkey-1").stat().st_mode & 0o777 == 0o400
        for ticket, verb in ((4, "install 1"), (5, "start 0")):
            node.tell(f"corosync {ticket} {verb}")
            assert node.answer(ticket)["event"] == "done"
    for node in nodes:
        until(lambda: "Sync members[2]: 1 2" in (node.directory / "state/corosync.log").read_text(), lambda: f"two members\n{node.log()}")
        assert node.report()["corosync"] and node.report()["corosync_generation"] == 1
    first = nodes[0]
    corosync = [p for p in first.inside() if Path(f"/proc/{p}/comm").read_text() == "corosync\n"]
    os.kill(corosync[0], signal.SIGSTOP)
    first.tell("corosync 6 hung 0")
    assert first.answer(6)["event"] == "done"
    until(lambda: process_state(corosync[0]) is None, "the stopped one is killed")
    until(lambda: first.report()["corosync"], "another runs")
    first.tell(f"corosync 7 stage 2 mail 8 {members}", )
    assert first.answer(7)["event"] == "done"
    for ticket, verb in ((8, "install 2"), (9, "purge 0")):
        first.tell(f"corosync {ticket} {verb}")
        assert first.answer(ticket)["event"] == "done"
    until(lambda: not first.report()["corosync"], "it ends")
    assert os.listdir(first.directory / "corosync") == []
