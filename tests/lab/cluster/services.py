# SPDX-License-Identifier: Apache-2.0
"""Real programs on a node: postroadd alone, corosync and keepalived with configurations written by hand for tests.

What the product writes for corosync and keepalived is the product's business; these are for proving the lab, and for
tests of a part against the real thing.
"""
import json
import os

from tests.lab.cluster.waiting import Seen, until

TOKEN_MS = 1000  # shorter than the product's, so that tests are; bounds in tests are worked out from it
ADVERT_SECONDS = 0.2
PRIORITIES = (250, 240, 230, 220, 210)
COROSYNC_SECONDS = 20

COROSYNC = """totem {{
	version: 2
	cluster_name: lab
	transport: knet
	token: {token}
	token_coefficient: 0
	crypto_cipher: aes256
	crypto_hash: sha256
	keyfile: /etc/corosync/authkey
}}
system {{
	state_dir: /var/lib/corosync
	sched_rr: no
	move_to_root_cgroup: no
}}
logging {{
	to_stderr: yes
	to_syslog: no
	timestamp: hires
}}
quorum {{
	provider: corosync_votequorum
}}
nodelist {{
{nodes}}}
"""
KEEPALIVED = """global_defs {{
	vrrp_version 3
	vrrp_garp_master_refresh 60
	vrrp_garp_lower_prio_repeat 1
	vrrp_higher_prio_send_advert true
	dynamic_interfaces
}}
track_file ok {{
	file /run/vip/ok
	weight 0 reverse
}}
vrrp_instance vip {{
	state BACKUP
	interface eth0
	virtual_router_id 51
	priority {priority}
	advert_int {advert}
	unicast_src_ip {own}
	unicast_peer {{
{peers}	}}
	track_file {{
		ok
	}}
	virtual_ipaddress {{
		{vip}/24 dev eth0
	}}
}}
"""


# ---- corosync ----


def corosync_conf(nodes, links=("cluster",), token=TOKEN_MS):
    text = ""
    for number, node in enumerate(nodes, 1):
        rings = "".join(f"\t\tring{i}_addr: {node.addresses[net]}\n" for i, net in enumerate(links))
        text += f"\tnode {{\n\t\tname: {node.name}\n\t\tnodeid: {number}\n{rings}\t}}\n"
    return COROSYNC.format(token=token, nodes=text)


def start_corosync(nodes, links=("cluster",), token=TOKEN_MS):
    """Starts it on all and returns when each sees all."""
    text, key = corosync_conf(nodes, links, token), os.urandom(128)
    for node in nodes:
        node.write("/etc/corosync/corosync.conf", text)
        node.write("/etc/corosync/authkey", key, 0o400)
        node.supervise("corosync", ["corosync", "-f"])
    names = {n.name for n in nodes}
    for node in nodes:
        until(lambda n=node: Seen(members(n) == names, members(n)), COROSYNC_SECONDS, f"{node.name} sees {sorted(names)}")


def members(node):
    """The names of those that this node's corosync has in its view. Empty = it does not answer."""
    out = node.run(["corosync-quorumtool", "-l"], check=False)
    rows = [line.split() for line in out.splitlines()]
    return {row[2] for row in rows if len(row) > 2 and row[0].isdigit()}


def connected_links(node):
    """{network: how many peers this node's corosync reaches by it}."""
    lines = [line for line in node.run(["corosync-cfgtool", "-n"], check=False).splitlines() if "LINK:" in line]
    return {net: sum(f"({address}->" in line and " connected" in line for line in lines) for net, address in node.addresses.items()}


# ---- keepalived ----


def start_keepalived(nodes, vip, advert=ADVERT_SECONDS):
    """Starts it on all, the first one preferred; returns when that one has the address."""
    for node, priority in zip(nodes, PRIORITIES):
        peers = "".join(f"\t\t{n.addresses['lan']}\n" for n in nodes if n is not node)
        node.write("/etc/keepalived/keepalived.conf", KEEPALIVED.format(priority=priority, advert=advert, own=node.addresses["lan"],
                                                                        peers=peers, vip=vip), 0o644)
        node.on_power.append(lambda n, is_on: is_on and set_health(n, True))
        set_health(node, True)
        node.supervise("keepalived", ["keepalived", "--dont-fork", "--log-console", "--log-detail", "--dump-conf", "--vrrp",
                                      "--no-syslog"])
    until(lambda: holds(nodes[0], vip), 10, f"{nodes[0].name} has {vip}")


def set_health(node, is_good):
    """A file that keepalived watches: not good = it gives the address up."""
    node.write("/run/vip/ok", "1\n" if is_good else "0\n")


def holds(node, address):
    """Whether the kernel of this node has the address."""
    return f" {address}/" in node.run(["ip", "-o", "address"]) if node.is_on() else False


def master_down(priority=PRIORITIES[1], advert=ADVERT_SECONDS):
    """Seconds until a backup of that priority takes a silent master's place (RFC 5798, section 6.1)."""
    return 3 * advert + (256 - priority) * advert / 256


# ---- postroadd ----


def listener(bind, more=None):
    return {"bind": bind, "mode": "smtp", "direction": "outbound", "hostname": "mx.lab.test", "pool": "mta", "allow": ["10.0.0.0/8"],
            "timeouts": {"command": "30s", "idle": "60s"}, "caps": {"connections_per_client": 1000}, **(more or {})}


def configuration(vips, servers, pool=None, more=None):
    """A document: one listener on all VIPs, one pool of `servers` {name: ADDRESS:PORT}."""
    health = {"interval": "1s", "fast_interval": "200ms", "down_interval": "500ms", "timeout": "2s", "rise": 1, "fall": 2}
    return {"version": 1, "listeners": {"vip": listener([f"{v}:25" for v in vips])},
            "pools": {"mta": {"servers": {name: {"address": a} for name, a in servers.items()}, "health": health, "slow_start": "0s",
                              **(pool or {})}}, **(more or {})}


def start_postroadd(node, program, document, more=None, supervised=True, watchdog=None):
    """A node of its own, no cluster: state on the node's disk, under the shim."""
    own = {"node": node.name, "state_dir": "/var/lib/postroad", "run_dir": "/run/postroad", "workers": 1, "shutdown_grace": "5s",
           "log": {"target": "stderr", "level": "info"}, "admin": {"listen": [], "tls": "off"}, "initial_config": document,
           **(more or {})}
    node.write("/etc/postroad/node.json", json.dumps(own, indent=2) + "\n")
    argv = node.shimmed([program, "-c", "/etc/postroad/node.json"])
    if supervised:
        node.supervise("postroadd", argv, watchdog=watchdog)
    else:
        node.start("postroadd", argv)
