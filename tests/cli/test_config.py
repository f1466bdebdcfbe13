# SPDX-License-Identifier: Apache-2.0
"""postroad config: reads, preconditions, idempotence, dry runs, validation errors."""

import json
import stat

import pytest
from conftest import Reply

DOC = {"version": 1, "pools": {"mta": {"balance": "leastconn"}}}
CONFIG = Reply(DOC, headers={"ETag": '"r7"'})
GET, PUT, DRY = "GET /api/v1/config", "PUT /api/v1/config", "PUT /api/v1/config?dry_run=true"
DIFF = {"changes": [
    {"op": "replace", "path": "/pools/mta/balance", "from": "leastconn", "to": "random"},
    {"op": "add", "path": "/pools/b", "to": {"servers": {}}},
    {"op": "remove", "path": "/pools/c", "from": {}},
], "warnings": []}
INVALID = Reply({"title": "Not valid", "detail": "2 errors", "errors": [
    {"path": "/pools/mta/balance", "detail": "unknown value", "found": '"leastcon"', "allowed": "roundrobin, leastconn",
     "suggestion": "leastconn"},
    {"path": "/listeners/relay/allow", "detail": "could relay for the world"},
]}, status=422)


@pytest.fixture
def site(tmp_path):
    f = tmp_path / "site.json"
    f.write_text('{"version": 1, "pools": {"mta": {"balance": "random"}}}')
    return str(f)


@pytest.fixture
def changing(node):
    node[GET] = CONFIG
    node[DRY] = DIFF
    node[PUT] = Reply({"revision": 8, "changes": DIFF["changes"]}, headers={"ETag": '"r8"'})
    return node


# ---- get ----

def test_get_prints_the_document(postroad, node):
    node[GET] = CONFIG
    r = postroad("config", "get")
    assert (r.code, r.json) == (0, DOC)


def test_get_of_a_section_and_of_an_object(postroad, node):
    node[GET] = CONFIG
    node["GET /api/v1/config/pools/mta%20x"] = Reply({"balance": "first"}, headers={"ETag": '"o"'})
    assert postroad("config", "get", "pools").json == DOC["pools"]
    assert postroad("config", "get", "pools", "mta x").json == {"balance": "first"}


def test_get_of_a_section_that_is_not_there_fails(postroad, node):
    node[GET] = CONFIG
    r = postroad("config", "get", "routes")
    assert r.code == 1 and 'no "routes"' in r.err and r.out == ""


def test_get_asks_for_defaults_and_secrets(postroad, node):
    node["GET /api/v1/config?effective=true&with_secrets=true"] = CONFIG
    node["GET /api/v1/config/pools/mta?effective=true"] = CONFIG
    assert postroad("config", "get", "--effective", "--with-secrets").code == 0
    assert postroad("config", "get", "pools", "mta", "--effective").code == 0


# ---- apply ----

def test_apply_writes_under_the_etag_it_read(postroad, changing, site):
    r = postroad("config", "apply", site)
    assert r.code == 0, r.err
    assert changing.made() == [GET, DRY, PUT]
    assert changing.calls[2].headers["If-Match"] == '"r7"'
    assert changing.calls[2].headers["Content-Type"] == "application/json"
    assert changing.calls[2].json == {"version": 1, "pools": {"mta": {"balance": "random"}}}
    assert r.lines == ['- /pools/mta/balance "leastconn"', '+ /pools/mta/balance "random"', '+ /pools/b {"servers":{}}',
                       "- /pools/c {}", "applied: revision 8"]


def test_apply_takes_standard_input(postroad, changing):
    r = postroad("config", "apply", "-", stdin='{"version": 1}')
    assert r.code == 0
    assert changing.calls[-1].json == {"version": 1}


def test_apply_again_says_unchanged_and_writes_nothing(postroad, changing, site):
    changing[DRY] = {"changes": []}
    r = postroad("config", "apply", site)
    assert (r.code, r.lines) == (0, ["unchanged"])
    assert changing.made() == [GET, DRY]
    assert postroad("config", "apply", site, "--json").json == {"changed": False, "outcome": "unchanged", "changes": []}


def test_a_dry_run_writes_nothing(postroad, changing, site):
    r = postroad("config", "apply", "--dry-run", site)
    assert r.code == 0
    assert r.lines[-1] == "dry run: nothing was changed"
    assert changing.made() == [GET, DRY]


LOGINS = {"users": {"app1": {"password": "<secret>"}, "app2": {}}, "tokens": {"ci": {"role": "viewer"}}}


@pytest.mark.parametrize("left,loses", [
    ({}, "remove all 2 users and the only token: who logs in by them loses access"),
    ({"users": {}, "tokens": {"new": {}}}, "remove all 2 users: who logs in by them loses access"),
    ({"users": {"app3": {}}, "tokens": None}, "remove the only token: who logs in by it loses access"),
])
def test_apply_asks_before_all_logins_of_a_kind_vanish(postroad, changing, tmp_path, left, loses):
    changing[GET] = Reply(DOC | LOGINS, headers={"ETag": '"r7"'})
    site = tmp_path / "left.json"
    site.write_text(json.dumps(DOC | left))
    r = postroad("config", "apply", str(site))
    assert r.code == 2 and f"this would {loses}; say --yes" in r.err, r.err
    r = postroad("config", "apply", "--dry-run", str(site))
    assert r.code == 0 and f"warning: this would {loses}" in r.err, r.err
    assert PUT not in changing.made()
    assert postroad("config", "apply", "--yes", str(site)).code == 0
    assert changing.made()[-1] == PUT


@pytest.mark.parametrize("left", [LOGINS, {"users": {"app2": {}}, "tokens": {"other": {}}}])
def test_apply_does_not_ask_where_the_file_knows_logins_of_that_kind(postroad, changing, tmp_path, left):
    changing[GET] = Reply(DOC | LOGINS, headers={"ETag": '"r7"'})
    site = tmp_path / "left.json"
    site.write_text(json.dumps(DOC | left))
    assert postroad("config", "apply", str(site)).code == 0


def test_apply_never_overwrites_what_somebody_else_wrote(postroad, changing, site):
    changing[PUT] = Reply({"title": "Precondition failed", "detail": "the ETag is stale"}, status=412)
    r = postroad("config", "apply", site)
    assert r.code == 1
    assert "somebody else changed it" in r.err and "applied" not in r.out


@pytest.mark.parametrize("command", ["apply", "check"])
def test_every_validation_error_is_a_line(postroad, changing, site, command):
    changing[DRY] = INVALID
    r = postroad("config", command, site)
    assert r.code == 2
    lines = r.err.splitlines()
    assert lines[1] == ('/pools/mta/balance: unknown value; found: "leastcon"; allowed: roundrobin, leastconn; '
                        'did you mean "leastconn"?')
    assert lines[2] == "/listeners/relay/allow: could relay for the world"
    assert PUT not in changing.made()


def test_a_problem_is_json_on_standard_error_with_json(postroad, changing, site):
    changing[DRY] = INVALID
    r = postroad("config", "apply", site, "--json")
    assert r.code == 2 and r.out == ""
    assert json.loads(r.err)["errors"][0]["suggestion"] == "leastconn"


@pytest.mark.parametrize("text,why", [
    ('{"a": 1,\n "a": 2}', "line 2"), ("[1]", "JSON object"), ("{", "line 1"), ("", "line 1"), ('{} x', "line 1"),
])
def test_a_file_that_is_no_document_is_refused_before_any_call(postroad, node, tmp_path, text, why):
    f = tmp_path / "bad.json"
    f.write_text(text)
    r = postroad("config", "apply", str(f))
    assert r.code == 2 and why in r.err
    assert node.made() == []


def test_a_file_that_cannot_be_read_fails(postroad, node, tmp_path):
    r = postroad("config", "apply", str(tmp_path / "none.json"))
    assert r.code == 1 and "none.json" in r.err


def test_warnings_of_the_node_are_shown(postroad, changing, site):
    changing[DRY] = {**DIFF, "warnings": [{"path": "/pools/mta/timeouts/dot", "detail": "shorter than ten minutes"}]}
    r = postroad("config", "apply", site)
    assert "warning: /pools/mta/timeouts/dot: shorter than ten minutes" in r.err


def test_what_a_diff_holds_cannot_drive_the_terminal(postroad, changing, site):
    changing[DRY] = {"changes": [{"op": "add", "path": "/x\x1b[2J", "to": "\x1b]0;title\x07\u009b"}]}
    r = postroad("config", "apply", "--dry-run", site)
    assert "\x1b" not in r.out and "\x07" not in r.out and "\u009b" not in r.out


# ---- check, diff, history, rollback ----

def test_check_and_diff_change_nothing(postroad, changing, site):
    assert postroad("config", "check", site).lines == ["valid, 3 changes"]
    assert postroad("config", "diff", site).lines[0] == '- /pools/mta/balance "leastconn"'
    assert PUT not in changing.made()


def test_diff_with_nothing_to_show(postroad, changing, site):
    changing[DRY] = {"changes": []}
    assert postroad("config", "diff", site).lines == ["no difference"]


def test_diff_with_a_revision_compares_its_document(postroad, changing):
    changing["GET /api/v1/config/revisions/5"] = {"revision": 5, "config": {"version": 1, "old": True}}
    assert postroad("config", "diff", "5").code == 0
    assert changing.calls[-1].json == {"version": 1, "old": True}


def test_history_lists_revisions(postroad, node):
    node["GET /api/v1/config/revisions"] = {"revisions": [
        {"revision": 12, "time": "2026-11-21T10:00:00Z", "author": "ops", "node": "n1", "comment": "PATCH"},
        {"revision": 3, "time": "2026-11-20T10:00:00Z", "author": "local:root", "node": "n2", "comment": ""},
    ]}
    r = postroad("config", "history")
    assert r.code == 0
    assert r.lines[0].split() == ["REVISION", "TIME", "AUTHOR", "NODE", "CHANGE"]
    assert r.lines[1].split() == ["12", "2026-11-21T10:00:00Z", "ops", "n1", "PATCH"]
    assert r.lines[2].split() == ["3", "2026-11-20T10:00:00Z", "local:root", "n2", "-"]
    assert r.lines[1].index("ops") == r.lines[2].index("local:root"), "columns are aligned"


ROLLBACK = "POST /api/v1/config/rollback"


@pytest.fixture
def old(changing):
    changing[ROLLBACK] = changing[ROLLBACK + "?dry_run=true"] = Reply({**DIFF, "revision": 9}, headers={"ETag": '"r9"'})
    return changing


def test_rollback_sends_the_revision_under_the_etag(postroad, old):
    r = postroad("config", "rollback", "5", "--yes")
    assert r.code == 0, r.err
    assert r.lines[-1] == "rolled back: revision 9"
    assert old.made() == [GET, ROLLBACK]
    assert old.calls[-1].json == {"revision": 5}
    assert old.calls[-1].headers["If-Match"] == '"r7"'


def test_rollback_without_a_terminal_wants_yes(postroad, old):
    r = postroad("config", "rollback", "5")
    assert r.code == 2 and "--yes" in r.err
    assert old.made() == []


def test_rollback_dry_run_shows_the_difference(postroad, old):
    r = postroad("config", "rollback", "5", "--dry-run")
    assert r.code == 0 and r.lines[0].startswith("- /pools/mta/balance")
    assert old.made() == [GET, ROLLBACK + "?dry_run=true"]


def test_rollback_to_a_revision_that_is_gone_is_a_usage_error(postroad, old):
    old[ROLLBACK] = Reply({"title": "Not valid", "errors": [{"path": "/revision", "detail": "not kept"}]}, status=422)
    r = postroad("config", "rollback", "99", "--yes")
    assert r.code == 2 and "/revision: not kept" in r.err


# ---- edit ----

def editor(tmp_path, *rounds):
    """An editor that writes the next of the given texts each time it is opened."""
    for i, text in enumerate(rounds):
        (tmp_path / f"round{i}").write_text(text)
    script = tmp_path / "edit"
    script.write_text(f"""#!/bin/sh
n=$(cat {tmp_path}/n 2>/dev/null || echo 0)
cat "$1" > {tmp_path}/seen$n
if [ -f {tmp_path}/round$n ]; then cat {tmp_path}/round$n > "$1"; fi
echo $((n + 1)) > {tmp_path}/n
""")
    script.chmod(0o700)
    return {"EDITOR": str(script), "TMPDIR": str(tmp_path)}


def leftovers(tmp_path):
    return sorted(tmp_path.glob("postroad-config-*.json"))


def test_edit_applies_what_was_written(postroad, changing, tmp_path):
    r = postroad("config", "edit", env=editor(tmp_path, '{"version": 1}'))
    assert r.code == 0, r.err
    assert json.loads((tmp_path / "seen0").read_text()) == DOC
    assert changing.calls[-1].json == {"version": 1}
    assert changing.calls[-1].headers["If-Match"] == '"r7"'
    assert leftovers(tmp_path) == []


def test_edit_without_a_change_writes_nothing(postroad, changing, tmp_path):
    r = postroad("config", "edit", env=editor(tmp_path))
    assert (r.code, r.lines) == (0, ["unchanged"])
    assert changing.made() == [GET]
    assert leftovers(tmp_path) == []


def test_edit_opens_again_until_it_validates(postroad, changing, tmp_path):
    changing[DRY] = [INVALID, Reply(DIFF)]
    r = postroad("config", "edit", env=editor(tmp_path, '{"version": 2}', "{not json", '{"version": 3}'))
    assert r.code == 0, r.err
    assert (tmp_path / "seen1").read_text() == '{"version": 2}', "the rejected text is opened again"
    assert (tmp_path / "seen2").read_text() == "{not json"
    assert "/pools/mta/balance: unknown value" in r.err and "line 1" in r.err
    assert changing.calls[-1].json == {"version": 3}


def test_edit_that_is_given_up_keeps_the_text(postroad, changing, tmp_path):
    changing[DRY] = INVALID
    r = postroad("config", "edit", env=editor(tmp_path, '{"version": 2}'))
    assert r.code == 2
    (kept,) = leftovers(tmp_path)
    assert str(kept) in r.err and kept.read_text() == '{"version": 2}'
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_edit_overtaken_by_another_change_keeps_the_text(postroad, changing, tmp_path):
    changing[PUT] = Reply({"title": "stale"}, status=412)
    r = postroad("config", "edit", env=editor(tmp_path, '{"version": 2}'))
    assert r.code == 1
    (kept,) = leftovers(tmp_path)
    assert str(kept) in r.err


def test_an_editor_that_fails_changes_nothing(postroad, changing):
    r = postroad("config", "edit", env={"EDITOR": "false"})
    assert r.code == 1 and "the editor (false) failed" in r.err
    assert changing.made() == [GET]
