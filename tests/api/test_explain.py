# SPDX-License-Identifier: Apache-2.0
"""POST /explain: what it says, and that mail then goes where it said."""
import json
import re

import pytest
from conftest import ask, free_port, smtp, wait_for


def explain(node, **question):
    return node.call("POST", "/api/v1/explain", {"listener": "relay", "recipients": ["x@y.test"]} | question)


def test_explain_follows_the_routes(node):
    answer = explain(node, sender="a@elsewhere.test", recipients=["x@y.test", "x@never.test"]).json
    by_recipient = {r["recipient"]: r for r in answer["recipients"]}
    routed = by_recipient["x@y.test"]
    assert (routed["route"], routed["action"], routed["pool"]) == ("elsewhere", "pool", "other")
    assert [c["server"] for c in routed["candidates"]] == ["o1"] and routed["candidates"][0]["usable"] is True
    assert [r["route"] for r in routed["routes"]] == ["never", "elsewhere"]
    assert routed["routes"][0]["why"] != "matched" and routed["routes"][1]["why"] == "matched"
    refused = by_recipient["x@never.test"]
    assert (refused["route"], refused["action"], refused["text"]) == ("never", "reject", "5.7.1 no")


def test_explain_without_a_match_is_the_listeners_pool(node):
    answer = explain(node).json
    assert answer["revision"] == 1 and answer["client"]["allowed"] is True
    assert (answer["recipients"][0]["route"], answer["recipients"][0]["pool"]) == (None, "main")
    assert explain(node, client="192.0.2.1").json["client"] == {"allowed": False, "why": "not in allow"}


def test_explain_says_why_a_server_is_out(node):
    node.call("PUT", "/api/v1/pools/main/servers/b1/state", {"admin": "drain"})
    candidate = explain(node).json["recipients"][0]["candidates"][0]
    assert candidate["usable"] is False and candidate["state"] == "drain" and candidate["why"]


@pytest.mark.parametrize("question", [{"listener": "none"}, {"recipients": []}, {"recipients": "x@y"}, {"recipients": [1]},
                                      {"client": "nowhere"}, {"extensions": "DSN"}, {"extensions": ["SIZE"]}, {"extensions": [8]}, {"size": -1}, {"size": "big"}, {"colour": "red"}])
def test_explain_refuses_what_it_does_not_understand(node, question):
    answer = explain(node, **question)
    assert answer.status == 422 and answer.json["errors"], answer.body


@pytest.mark.parametrize("question, path", [
    ({"recipients": ["x@y.test", "bad@@x"]}, "/recipients/1"), ({"recipients": ["x y@z.test"]}, "/recipients/0"),
    ({"recipients": ["x@y.test> SIZE=1"]}, "/recipients/0"), ({"recipients": ["<>"]}, "/recipients/0"), ({"recipients": [""]}, "/recipients/0"),
    ({"recipients": ["x@y.test\r\n"]}, "/recipients/0"), ({"recipients": ["nobody"]}, "/recipients/0"),
    ({"recipients": ["x@" + "y" * 2000]}, "/recipients/0"),
    ({"sender": "bad@@x"}, "/sender"), ({"sender": "nobody"}, "/sender"), ({"sender": "postmaster"}, "/sender"),
])
def test_explain_refuses_addresses_that_mail_would_refuse(node, question, path):
    answer = explain(node, **question)
    assert answer.status == 422 and [e["path"] for e in answer.json["errors"]] == [path], answer.body


@pytest.mark.parametrize("question", [
    {"recipients": ["<x@y.test>", "postmaster", "<Postmaster>", "x@[192.0.2.1]", '"a b"@y.test', "j\u00f6rg@y.test"]},
    {"sender": "<>"}, {"sender": ""}, {"sender": "<a@b.test>"}, {"sender": None},
])
def test_explain_takes_addresses_that_mail_would_take(node, question):
    answer = explain(node, **question)
    assert answer.status == 200, answer.body


def test_explain_says_that_a_login_is_required(node):
    assert "auth" not in explain(node).json
    users = {"u": {"password": "$6$saltsalt$sfZR6YSW/Dp0uCiyF9fDipa6ORr5LVLOwXNgtzRlXXhkC7xA3w4zy97VIC3vL14AUXGJp3yBjZVztkdiBzJnX1"}}
    answer = node.write("PATCH", "/api/v1/config", {"users": users, "listeners": {"relay": {"mixed_recipients": "first", "auth": {
        "mode": "require", "plaintext": True, "mechanisms": ["PLAIN"]}}}})
    assert answer.status == 200, answer.body
    wait_for(lambda: "530" in explain(node).json.get("auth", ""), "the answer says so")
    assert explain(node).json["recipients"][0]["action"] == "pool"
    assert "auth" not in explain(node, user="u").json


@pytest.mark.parametrize("question, usable", [
    ({"extensions": ["8BITMIME"]}, True), ({"extensions": ["8bitmime", "SMTPUTF8"]}, False), ({"extensions": ["DSN"]}, False),
    ({"recipients": ["j\u00f6rg@y.test"]}, False), ({"sender": "j\u00f6rg@x.test"}, False), ({"extensions": []}, True),
])
def test_explain_leaves_out_servers_that_lack_what_mail_asks_for(node, question, usable):
    wait_for(lambda: node.get("/api/v1/pools/main").json["servers"]["b1"]["state"] == "up", "b1 is up")
    answer = explain(node, **{"sender": "a@y.test"} | question)
    candidate = answer.json["recipients"][0]["candidates"][0]
    assert (candidate["server"], candidate["usable"]) == ("b1", usable), answer.body
    assert usable or "EHLO" in candidate["why"] or "extension" in candidate["why"]


# ---- the whole answer ----

@pytest.fixture
def varied(idle_node, sink):
    """Routes by each key that mail can show, pools with a server in each of several states, an inbound listener."""
    n = idle_node
    dead = f"127.0.0.1:{free_port()}"
    quick = {"interval": "50ms", "fast_interval": "50ms", "down_interval": "50ms", "rise": 1, "fall": 1}
    n.config["pools"] = {
        "main": {
            "balance": "first", "health": quick, "slow_start": "0s",
            "servers": {
                "gone": {"address": dead}, "off": {"address": sink, "weight": 0}, "rest": {"address": sink},
                "works": {"address": sink}, "reserve": {"address": sink, "priority": 2},
            },
        },
        "other": {"slow_start": "0s", "servers": {"o1": {"address": sink}}},
    }
    n.config["routes"] = [
        {"name": "never", "when": {"recipient_domain": ["never.test", "*.never.test"]}, "action": "reject", "text": "5.7.1 no"},
        {"name": "later", "when": {"recipient": ["x@later.test"]}, "action": "defer"},
        {"name": "away", "when": {"client": ["192.0.2.0/24"]}, "pool": "other"},
        {"name": "both", "when": {"sender_domain": ["s.test"], "recipient_domain": ["r.test"]}, "pool": "other"},
        {"name": "bounces", "when": {"sender": ["<>"]}, "pool": "other"},
        {"name": "set", "when": {"recipient_domain": ["@set"], "helo": ["special.test"]}, "pool": "other"},
    ]
    n.config["domain_sets"] = {"set": {"b\u00fccher.test": True}}
    n.inbound_port = free_port()
    n.config["listeners"]["mx"] = dict(n.config["listeners"]["relay"], bind=[f"127.0.0.1:{n.inbound_port}"],
                                       direction="inbound", accepted_domains=["ours.test"])
    n.start()
    state = "/api/v1/pools/main/servers/rest/state"
    assert n.call("PUT", state, {"admin": "maint"}).status == 200
    wait_for(lambda: n.get("/api/v1/pools/main").json["servers"]["gone"]["state"] == "down", "gone is down")
    return n


def test_explain_shows_every_server_with_its_state_and_why(varied):
    answer = explain(varied, sender="a@x.test").json
    assert set(answer) == {"revision", "listener", "client", "recipients"} and answer["listener"] == "relay"
    only, = answer["recipients"]
    assert set(only) == {"recipient", "route", "action", "pool", "candidates", "routes"}
    assert {c["server"]: (c["state"], c["usable"], c["why"]) for c in only["candidates"]} == {
        "gone": ("down", False, "down"), "off": ("up", False, "weight 0"), "rest": ("maint", False, "maint"),
        "works": ("up", True, "up"), "reserve": ("up", False, "its priority group is not needed"),
    }
    too_big = explain(varied, sender="a@x.test", size=1000001).json["recipients"][0]["candidates"]
    assert [c["server"] for c in too_big if c["usable"]] == []
    assert {c["server"]: c["why"] for c in too_big}["works"] == "the message is larger than its SIZE"


def test_explain_says_of_each_route_which_key_did_not_match(varied):
    def why(recipient="x@r.test", **question):
        only, = explain(varied, recipients=[recipient], **question).json["recipients"]
        return {r["route"]: r["why"] for r in only["routes"]}

    missed = why(sender="a@elsewhere.test", recipient="x@b\u00fccher.test", helo="special.test")
    assert list(missed) == ["never", "later", "away", "both", "bounces", "set"] and missed["set"] == "matched"
    for route, key in {"never": "recipient_domain", "later": "recipient", "away": "client", "both": "sender_domain",
                       "bounces": "sender"}.items():
        assert re.search(rf"\b{key}\b", missed[route]), missed
    assert re.search(r"\bhelo\b", why(sender="a@elsewhere.test", recipient="x@b\u00fccher.test")["set"])
    # Nothing is said of routes behind the one taken.
    assert why(sender="a@s.test")["both"] == "matched" and "bounces" not in why(sender="a@s.test")


# ---- it is what happens ----

def fields(line):
    pairs = re.findall(r'(\S+?)=("(?:[^"\\]|\\.)*"|\S*)', line)
    return {k: json.loads(v) if v.startswith('"') else v for k, v in pairs}


def send_one(node, port, helo, sender, recipient):
    """One whole transaction: the reply to RCPT, and its line in the log (None where it was refused)."""
    node.smtp_port, own = port, node.smtp_port
    s, f = smtp(node)
    node.smtp_port = own
    with s, f:
        ask(f, "EHLO " + helo)
        assert ask(f, f"MAIL FROM:<{sender}>").startswith("250")
        verdict = ask(f, f"RCPT TO:<{recipient}>").strip()
        if verdict.startswith("250"):
            assert ask(f, "DATA").startswith("354")
            assert ask(f, "Subject: x\r\n\r\nhi\r\n.").startswith("250")
        ask(f, "QUIT")
    if not verdict.startswith("250"):
        return verdict, None
    found = wait_for(lambda: [x for x in map(fields, node.log.splitlines())
                              if x.get("event") == "transaction" and x.get("to") == recipient], "it is logged")
    return verdict, found[-1]


@pytest.mark.parametrize("listener, helo, sender, recipient, route, action", [
    ("relay", "c.test", "a@x.test", "x@y.test", None, "pool"),
    ("relay", "c.test", "a@x.test", "x@Never.test", "never", "reject"),
    ("relay", "c.test", "a@x.test", "x@sub.never.test", "never", "reject"),
    ("relay", "c.test", "a@x.test", "x@notnever.test", None, "pool"),
    ("relay", "c.test", "a@x.test", "X@Later.test", "later", "defer"),
    ("relay", "c.test", "a@x.test", "y@later.test", None, "pool"),
    ("relay", "c.test", "a@s.test", "x@r.test", "both", "pool"),
    ("relay", "c.test", "a@s.test", "x@y.test", None, "pool"),
    ("relay", "c.test", "", "x@y.test", "bounces", "pool"),
    ("relay", "special.test", "a@x.test", "x@xn--bcher-kva.test", "set", "pool"),
    ("relay", "Special.Test", "a@x.test", "x@XN--BCHER-KVA.test.", "set", "pool"),
    ("relay", "c.test", "a@x.test", "x@xn--bcher-kva.test", None, "pool"),
    ("relay", "c.test", "a@x.test", '"x@never.test"@y.test', None, "pool"),
    ("relay", "c.test", "a@x.test", "postmaster", None, "pool"),
    ("mx", "c.test", "a@x.test", "x@OURS.test", None, "pool"),
    ("mx", "c.test", "a@x.test", "x@y.test", None, "reject"),
    ("mx", "c.test", "a@x.test", "x@[127.0.0.1]", None, "reject"),
    ("mx", "c.test", "", "x@ours.test", "bounces", "pool"),
    ("mx", "c.test", "a@x.test", "postmaster", None, "pool"),
])
def test_mail_goes_where_explain_said(varied, listener, helo, sender, recipient, route, action):
    only, = explain(varied, listener=listener, helo=helo, sender=sender, recipients=[recipient]).json["recipients"]
    assert (only.get("route"), only["action"]) == (route, action)
    port = varied.inbound_port if listener == "mx" else varied.smtp_port
    verdict, logged = send_one(varied, port, helo, sender, recipient)
    if action != "pool":
        assert logged is None and verdict.startswith({"reject": "550 ", "defer": "450 "}[action])
        assert route is None or only["text"] in verdict
        return
    usable = [c["server"] for c in only["candidates"] if c["usable"]]
    assert (logged["listener"], logged.get("route"), logged["pool"]) == (listener, route, only["pool"])
    assert logged["result"] == "accepted" and [logged["server"]] == usable


@pytest.mark.parametrize("recipient", ["@a.test,@b.test:x@later.test", "<@a.test:x@later.test>", "@[IPv6:2001:db8::1]:x@later.test"])
def test_explain_leaves_source_routes_out_as_mail_does(node, recipient):
    routes = [{"name": "later", "when": {"recipient": ["x@later.test"]}, "action": "defer"},
              {"name": "one", "when": {"sender": ["a@one.test"]}, "pool": "other"}]
    assert node.write("PATCH", "/api/v1/config", {"routes": routes}).status == 200
    wait_for(lambda: explain(node, sender="a@one.test").json["recipients"][0]["route"] == "one", "the routes are in force")
    answer = explain(node, sender="@a.test:a@one.test", recipients=[recipient, "x@y.test"]).json["recipients"]
    assert [r["route"] for r in answer] == ["later", "one"]
