# SPDX-License-Identifier: Apache-2.0
"""Balancers that name each other as servers end a message at once, with a refusal and a line in the log.

The hard thing is that no balancer of such a circle greets itself: each sees a server that it may well use. And one that
hands on to another, as many set-ups want, must not be taken for a circle.
"""
import os
import pathlib
import smtplib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "run"))

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from node import Node, Sink, free_ports, sum_of  # noqa: E402

from tests.lab.cluster.waiting import until  # noqa: E402

SECONDS = 10
BINS = pathlib.Path(os.environ.get("POSTROADD") or "build/bin/postroadd").resolve().parent


def balancer(directory, name, port, server):
    config = {"version": 1,
              "listeners": {"in": {"bind": [f"127.0.0.1:{port}"], "hostname": f"{name}.test", "pool": "p", "allow": ["127.0.0.0/8"]}},
              "pools": {"p": {"health": {"type": "none"}, "servers": {"s": {"address": f"127.0.0.1:{server}"}}}}}
    return Node(BINS, directory / name, config)


@pytest.fixture
def running():
    nodes = []
    yield nodes
    statuses = [node.stop() for node in nodes]
    assert not any(statuses)


def circle(directory, running, length):
    ports = free_ports(length)
    for i, port in enumerate(ports):
        running.append(balancer(directory, f"n{i}", port, ports[(i + 1) % length]).start())
    return ports


def connections(nodes):
    return sum(sum_of(n.metrics(), "postroad_connections_total", listener="in", result="accepted") for n in nodes)


def told(node, what):
    """The lines with it. They are written a moment after the answers."""
    return [line for line in node.tail(1 << 20).splitlines() if what in line]


@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_circle_of_balancers_is_refused_once_a_message_comes_round(tmp_path, running, length):
    ports = circle(tmp_path, running, length)
    before = connections(running)
    with smtplib.SMTP("127.0.0.1", ports[0], timeout=20) as client:
        client.ehlo("client.test")
        for address in ("a@src.test", "b@src.test"):
            assert client.mail(address)[0] == 250
            code, text = client.rcpt("x@dst.test")
            assert (code, text[:6]) == (554, b"5.4.6 "), text
            assert client.rset()[0] == 250
        assert connections(running) - before <= 2 * (length + 1), "once around, whatever the number of messages"
    lines = until(lambda: (said := told(running[0], "event=mail_loop"))[1:] and said, SECONDS, "both are in the log")
    assert len(lines) == 2 and "from=a@src.test" in lines[0], lines
    assert f"helo=n{length - 1}.test" in lines[0], "it names the balancer that brought it"
    for node in running:
        states = node.get("/api/v1/pools/p")[1]
        assert '"ejected"' not in states and '"down"' not in states, "nobody is blamed"


def test_a_row_of_balancers_is_no_circle(tmp_path, running):
    *ports, last = free_ports(8)
    running.append(Sink(BINS, f"127.0.0.1:{last}", tmp_path / "sink").start())
    for i, port in enumerate(ports):
        running.append(balancer(tmp_path, f"n{i}", port, (ports + [last])[i + 1]).start())
    with smtplib.SMTP("127.0.0.1", ports[0], timeout=20) as client:
        assert client.sendmail("a@src.test", ["x@dst.test"], "Subject: x\r\n\r\nx\r\n") == {}
    assert running[0].counters()["messages"] == 1


def test_a_circle_through_a_tcp_listener_is_found_by_the_smtp_listener_in_it(tmp_path, running):
    smtp_port, tcp_port = free_ports(2)
    through = balancer(tmp_path, "tcp", tcp_port, smtp_port)
    through.config["listeners"]["in"] = {"bind": [f"127.0.0.1:{tcp_port}"], "mode": "tcp", "pool": "p", "allow": ["127.0.0.0/8"]}
    running += [balancer(tmp_path, "smtp", smtp_port, tcp_port).start(), through.start()]
    with smtplib.SMTP("127.0.0.1", smtp_port, timeout=20) as client:
        client.ehlo("client.test")
        client.mail("a@src.test")
        assert client.rcpt("x@dst.test")[0] == 451
    until(lambda: told(running[0], "why=loop"), SECONDS, "it is in the log")
