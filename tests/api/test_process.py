# SPDX-License-Identifier: Apache-2.0
"""The process: arguments, start, signals, what it tells systemd."""
import base64
import contextlib
import json
import os
import pathlib
import pwd
import re
import resource
import signal
import socket
import stat
import subprocess
import tempfile
import time

import pytest
from conftest import BINARY, DEADLINE, ROOT, Node, ask, free_port, smtp, wait_for


def run(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=DEADLINE)


@contextlib.contextmanager
def in_a_message(node, *more):
    """A client with a recipient taken: its side of the connection."""
    s, f = smtp(node)
    with s:
        for line in ("EHLO c", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", *more):
            ask(f, line)
        yield f


def test_version_help_and_manual():
    assert run("--version").stdout.startswith("postroadd ")
    assert "--check" in run("--help").stdout
    manual = run("--manual")
    assert manual.returncode == 0 and "balance" in manual.stdout and "shutdown_grace" in manual.stdout


def test_wrong_usage_is_2():
    assert run("--nonsense").returncode == 2
    assert run("extra").returncode == 2
    missing = run("-c", "/nonexistent/node.json")
    assert missing.returncode == 2
    assert missing.stderr == "postroadd: /nonexistent/node.json: cannot be read: No such file or directory\n"


def test_check_accepts_a_valid_configuration_and_makes_nothing(idle_node):
    checked = run("-c", idle_node.write_file(), "--check")
    assert checked.returncode == 0, checked.stderr
    assert not (idle_node.directory / "state").exists() and not (idle_node.directory / "run").exists()


def test_check_warns_of_what_status_would_warn_of(idle_node):
    import resource
    idle_node.config["listeners"]["relay"]["caps"] = {"recipients": 50}
    low = subprocess.run([BINARY, "-c", idle_node.write_file(), "--check"], capture_output=True, text=True,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024)))
    assert low.returncode == 0
    warnings = [line for line in low.stdout.splitlines() if line.startswith("warning: ")]
    assert any("/listeners/relay/caps/recipients" in w for w in warnings)
    assert any("the process may open 1024" in w for w in warnings)


def test_check_tells_every_error_with_its_path(idle_node):
    idle_node.config["pools"]["main"]["balence"] = "first"
    idle_node.config["listeners"]["relay"]["pool"] = "nowhere"
    checked = run("-c", idle_node.write_file(), "--check")
    assert checked.returncode == 2
    assert "/initial_config/pools/main/balence" in checked.stderr and "/initial_config/listeners/relay/pool" in checked.stderr
    idle_node.file["wrokers"] = 1
    checked = run("-c", idle_node.write_file(), "--check")
    assert checked.returncode == 2 and "workers" in checked.stderr


def test_check_looks_into_the_store(node):
    node.stop()
    node.config["pools"]["main"]["balence"] = "first"
    checked = run("-c", node.write_file(), "--check")
    assert checked.returncode == 0 and "stored" in checked.stdout, checked.stderr


def test_an_invalid_initial_config_does_not_start(idle_node):
    idle_node.config["version"] = 99
    started = run("-c", idle_node.write_file())
    assert started.returncode == 2 and "/initial_config/version" in started.stderr


def test_a_node_without_a_configuration_starts_empty(idle_node):
    del idle_node.file["initial_config"]
    idle_node.start(ready=False)
    answer = idle_node.get("/readyz")
    assert answer.status == 503 and "no configuration is loaded" in answer.json["not_ready"]
    created = idle_node.call("PUT", "/api/v1/config", idle_node.config, {"If-None-Match": "*"})
    assert created.status == 200 and created.json["revision"] == 1
    wait_for(lambda: idle_node.get("/readyz").status == 200, "ready")
    assert idle_node.call("PUT", "/api/v1/config", {"version": 1}, {"If-None-Match": "*"}).status == 412


def test_an_edit_of_initial_config_is_told_and_has_no_effect(node):
    assert node.get("/api/v1/status").json["warnings"] == []
    node.stop()
    node.config["pools"]["main"]["queue"] = 3
    node.start()
    warnings = {w["key"] for w in node.get("/api/v1/status").json["warnings"]}
    assert "initial_config" in warnings
    assert "queue" not in node.document()["pools"]["main"]


def test_a_bind_in_use_ends_the_start_with_1(idle_node):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", idle_node.smtp_port))
        taken.listen()
        started = run("-c", idle_node.write_file())
    assert started.returncode == 1 and "/listeners/relay/bind/0" in started.stderr


def test_an_address_taken_at_a_later_start_is_tried_again_and_all_else_serves(idle_node):
    port = free_port()
    idle_node.config["listeners"]["late"] = {**idle_node.config["listeners"]["relay"], "bind": [f"127.0.0.1:{port}"]}
    idle_node.start().stop()

    def warning():
        return next((w["text"] for w in idle_node.get("/api/v1/status").json["warnings"] if w["key"] == "listen"), None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        idle_node.start(ready=False)
        wait_for(warning, "the address is told")
        assert warning().startswith("/listeners/late/bind/0") and str(port) in warning()
        _, f = smtp(idle_node)
        assert ask(f, "NOOP").startswith("250 ")
        assert idle_node.get("/readyz").status == 503
        written = idle_node.write("PATCH", "/api/v1/config", {"domain_sets": {"d": {"d.test": True}}})
        assert written.status == 200, "whoever changes something else can do nothing about it"
        refused = idle_node.write("PATCH", "/api/v1/config", {"listeners": {"third": idle_node.config["listeners"]["late"]}})
        assert refused.status == 422
    wait_for(lambda: idle_node.get("/readyz").status == 200, "the address is had once it is free")
    assert warning() is None
    with socket.create_connection(("127.0.0.1", port), 10) as late:
        assert late.recv(4) == b"220 "


def test_a_start_with_no_address_to_be_had_fails(idle_node):
    idle_node.start().stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", idle_node.smtp_port))
        taken.listen()
        started = run("-c", idle_node.write_file())
    assert started.returncode == 1 and "/listeners/relay/bind/0" in started.stderr


def test_an_admin_address_in_use_ends_the_start_with_1(idle_node):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", idle_node.admin_port))
        taken.listen()
        started = run("-c", idle_node.write_file())
    assert started.returncode == 1 and f"admin.listen 127.0.0.1:{idle_node.admin_port}" in started.stderr


def test_a_failed_start_is_told_where_it_was_started(idle_node):
    idle_node.file["log"] = {"target": "syslog"}
    (idle_node.directory / "state").write_text("not a directory")
    started = run("-c", idle_node.write_file())
    assert started.returncode == 1 and str(idle_node.directory / "state") in started.stderr


def test_a_second_process_on_the_same_state_is_refused(node):
    second = run("-c", node.write_file())
    assert second.returncode == 1
    assert node.get("/healthz").status == 200


def test_directories_are_private(node):
    assert stat.S_IMODE(os.stat(node.directory / "state").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(node.directory / "run").st_mode) == 0o755
    for where, folders, files in os.walk(node.directory / "state"):
        for name in folders + files:
            wanted = 0o700 if name in folders else 0o600
            assert stat.S_IMODE(os.stat(os.path.join(where, name)).st_mode) == wanted, name


def test_term_ends_it_with_0_and_removes_the_socket(node):
    assert node.stop() == 0
    assert not (node.directory / "run" / "admin.sock").exists()
    assert "event=stopping" in node.log and "event=stopped" in node.log


def test_interrupt_ends_it_with_0(node):
    node.process.send_signal(signal.SIGINT)
    assert node.process.wait(DEADLINE) == 0


def test_a_second_term_ends_it_at_once(idle_node):
    idle_node.file["shutdown_grace"] = "1h"
    node = idle_node.start()
    with in_a_message(node, "DATA"):
        node.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "event=stopping" in node.log, "stopping")
        assert node.get("/healthz").status == 200
        assert node.process.poll() is None
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(DEADLINE) == 0


def test_ready_does_not_call_off_an_end(idle_node):
    """It is for the next start; what ends is never ready again."""
    idle_node.file["shutdown_grace"] = "1h"
    node = idle_node.start()
    with in_a_message(node) as f:
        node.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "event=stopping" in node.log, "stopping")
        assert node.call("PUT", "/api/v1/nodes/n1/state", {"admin": "ready"}).status == 200
        assert node.get("/readyz").status == 503
        f.write(b"RSET\r\nNOOP\r\n")
        f.flush()
        assert [f.readline()[:3], f.readline()[:3]] == [b"250", b"421"]
    assert node.process.wait(DEADLINE) == 0


def test_a_configuration_that_comes_while_it_ends(idle_node):
    """Also a name that resolves differently makes one. What is under way is finished all the same."""
    idle_node.file["shutdown_grace"] = "1h"
    node = idle_node.start()
    with in_a_message(node, "DATA") as f:
        node.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "event=stopping" in node.log, "stopping")
        for n in range(3):
            assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"queue": n}}}).status == 200
        f.write(b"x\r\n.\r\n")
        f.flush()
        assert [f.readline()[:3], f.readline()[:3]] == [b"250", b"421"]
    assert node.process.wait(DEADLINE) == 0


def test_hup_reads_the_certificate_again(node):
    state = node.directory / "state"
    before = node.get("/api/v1/status").json["admin_api"]["certificate_sha256"]
    (state / "admin.crt").unlink()
    (state / "admin.key").unlink()
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: node.get("/api/v1/status").json["admin_api"]["certificate_sha256"] != before, "another certificate")
    assert node.get("/api/v1/status", token="viewer").status == 200


def test_hup_keeps_the_certificate_when_the_new_one_is_bad(node):
    state = node.directory / "state"
    good = (state / "admin.crt").read_text()
    (state / "admin.crt").write_text("nonsense")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: any(w["key"] == "admin_certificate" for w in node.get("/api/v1/status").json["warnings"]), "a warning")
    (state / "admin.crt").write_text(good)
    assert node.get("/api/v1/status", token="viewer").status == 200
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: node.get("/api/v1/status").json["warnings"] == [], "the warning ends")


def test_systemd_is_told(idle_node, monkeypatch):
    path = str(idle_node.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(DEADLINE)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        idle_node.start()
        seen = []
        while not ("READY=1" in seen and "WATCHDOG=1" in seen):
            seen += s.recv(1000).decode().split("\n")
        idle_node.stop()
        while "STOPPING=1" not in seen:
            seen += s.recv(1000).decode().split("\n")
        # The grace is 2 s, and addresses may take half of it and some more.
        extend = next(line for line in seen if line.startswith("EXTEND_TIMEOUT_USEC="))
        assert int(extend.partition("=")[2]) >= 3_000_000


def test_too_few_descriptors_is_a_warning(idle_node):
    idle_node.start(ready=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024)))
    assert "open_files" in {w["key"] for w in idle_node.get("/api/v1/status").json["warnings"]}


@pytest.mark.parametrize("text", ["", "{", '{"node": 1}', json.dumps({"admin": {"listen": ["0.0.0.0:1"], "tls": "off"}})])
def test_node_files_that_are_none(tmp_path, text):
    path = tmp_path / "node.json"
    path.write_text(text)
    checked = run("-c", str(path), "--check")
    assert checked.returncode == 2 and checked.stderr


# ---- memory ----

PASSWORD = "Zq8kLongUniquePassword77"
PASSWORD_HASH = "$5$rounds=1000$postroad$1OFI6J5iA/pjC0HcJ1Txz/buuumfOKyALOIbA142.r7"


def memory_of(pid):
    """Its writable memory, piece by piece."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            # Sanitizers map the whole address space; nothing is there.
            if found and int(found[2], 16) - int(found[1], 16) < 1 << 30 and "[v" not in line:
                memory.seek(int(found[1], 16))
                yield memory.read(int(found[2], 16) - int(found[1], 16))


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("piece", [7, 1000])
def test_no_password_stays_in_memory(idle_node, mechanism, piece):
    node = idle_node
    node.config["listeners"]["relay"]["auth"] = {"mode": "offer", "plaintext": True}
    node.config["users"] = {"app1": {"password": PASSWORD_HASH}}
    del node.config["routes"]
    node.file["workers"] = 1
    node.start()
    s, f = smtp(node)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask(f, "EHLO client.test")
    secret = base64.b64encode(PASSWORD.encode()).decode()
    if mechanism == "PLAIN":
        secret = base64.b64encode(b"\0app1\0" + PASSWORD.encode()).decode()
    else:
        assert ask(f, "AUTH LOGIN YXBwMQ==").startswith("334 ")
    line = (secret if mechanism == "LOGIN" else "AUTH PLAIN " + secret) + "\r\n"
    for at in range(0, len(line), piece):
        s.sendall(line[at:at + piece].encode())
    assert f.readline().startswith(b"235 ")
    try:
        left = [p for p in memory_of(node.process.pid) if PASSWORD.encode() in p or secret[10:-4].encode() in p]
    except PermissionError:
        pytest.skip("may not read the memory of another process")
    assert not left, "a password was left behind"
    s.close()


# ---- threads that hang ----

HOLD = str(ROOT / "tests/lib/hold")


def threads(process):
    """{its name: its id}; the first one has the name of the program."""
    found = {}
    for task in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{task}/comm") as comm:
            found[comm.read().strip()] = int(task)
    return found


@contextlib.contextmanager
def held(tid):
    """This thread stands still, and no other."""
    with subprocess.Popen([HOLD, str(tid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        if holder.stdout.readline() != "held\n":
            pytest.skip("threads may not be traced here")
        yield
        holder.stdin.close()


@pytest.mark.parametrize("name", ["worker 1", "control"])
def test_a_thread_that_hangs_ends_the_process_by_name(node, name):
    with held(node.process.pid if name == "control" else threads(node.process)[name]):
        assert node.process.wait(DEADLINE) == -signal.SIGABRT
    told = [line for line in node.log.splitlines() if "event=watchdog" in line]
    assert len(told) == 1 and f"thread {name} has not come round" in told[0]


def test_a_thread_that_hung_for_a_while_ends_nothing(node):
    with held(threads(node.process)["worker 0"]):
        wait_for(lambda: node.get("/readyz").status == 503, "a node with a worker that hangs wants no mail")
    wait_for(lambda: node.get("/readyz").status == 200, "the worker is back")
    assert "event=watchdog" not in node.log


def test_a_process_that_was_stopped_as_a_whole_goes_on(node):
    node.process.send_signal(signal.SIGSTOP)
    # Longer than a thread may hang; nothing could be awaited, as nothing happens.
    time.sleep(5.5)
    node.process.send_signal(signal.SIGCONT)
    wait_for(lambda: node.get("/readyz").status == 200, "it is ready again")
    assert node.process.poll() is None and "event=watchdog" not in node.log


# ---- a log that nobody reads ----

def fill(pipe):
    """So that nobody else's line finds room. The other ends of it may wait as before: it is opened anew."""
    own = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"." * size)
    os.close(own)


def fill_standard_error(node):
    """Starts it, and reads nothing of what it says from then on: the end that could be read."""
    reader, writer = os.pipe()
    with open(node.log_path, "ab") as log:
        node.process = subprocess.Popen([BINARY, "-c", node.write_file()], stdout=log, stderr=writer)
    wait_for(node.answers, "the admin socket answers")
    wait_for(lambda: node.get("/readyz").status == 200, "the node is ready")
    fill(writer)
    os.close(writer)
    return reader


def read_standard_error(reader):
    with open(reader, "rb") as f:
        return f.read().decode(errors="replace").lstrip(".")


def test_mail_goes_on_while_nobody_reads_the_log(idle_node):
    reader = fill_standard_error(idle_node)
    for i in range(100):
        with in_a_message(idle_node, "DATA") as f:
            assert ask(f, f"Subject: {i}\r\n\r\nhi\r\n.").startswith("250 "), i
    assert "postroad_log_lines_dropped_total 0\n" in idle_node.get("/metrics").body.decode()
    idle_node.process.send_signal(signal.SIGTERM)
    log = read_standard_error(reader)
    assert idle_node.process.wait(DEADLINE) == 0
    assert log.count("event=transaction ") == 100 and log.endswith("event=stopped msg=\"exit status 0\"\n")


def test_a_process_whose_log_nobody_reads_ends_when_it_is_told(idle_node):
    reader = fill_standard_error(idle_node)
    assert idle_node.stop() == 0
    os.close(reader)


def test_a_thread_that_hangs_ends_the_process_though_nobody_reads_its_log(idle_node):
    reader = fill_standard_error(idle_node)
    with held(threads(idle_node.process)["worker 0"]):
        assert idle_node.process.wait(DEADLINE) == -signal.SIGABRT
    os.close(reader)


# ---- started as root ----

@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_started_as_root_it_becomes_another_user(sink):
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        directory = pathlib.Path(made)
        directory.chmod(0o755)
        node = Node(directory, sink)
        node.arguments = ["--user", "nobody"]
        node.start()
        try:
            status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
            nobody = str(pwd.getpwnam("nobody").pw_uid)
            assert re.search(r"^Uid:\t(.*)$", status, re.M)[1].split() == [nobody] * 4
            for kind in ("Prm", "Eff", "Bnd"):
                assert int(re.search(rf"^Cap{kind}:\t(\w+)$", status, re.M)[1], 16) == 1 << 10, "only CAP_NET_BIND_SERVICE"
            assert (directory / "state").stat().st_uid == (directory / "run").stat().st_uid == int(nobody)
            assert "process_open_fds" in node.get("/metrics").body.decode()
        finally:
            assert node.stop() == 0, node.log


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("of_root", ["state", "run", "state/store.lock"])
def test_a_directory_that_root_made_before_is_an_error_that_says_what_to_do(sink, of_root):
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        directory = pathlib.Path(made)
        directory.chmod(0o755)
        node = Node(directory, sink)
        file = node.write_file()
        user = pwd.getpwnam("nobody")
        for name in ("state", "run"):
            (directory / name).mkdir(0o700, exist_ok=True)
            os.chown(directory / name, user.pw_uid, user.pw_gid)
        path = directory / of_root
        path.touch(0o600)
        os.chown(path, 0, 0)
        refused = run("-c", file, "--user", "nobody")
        assert refused.returncode == 1 and f"`chown -R nobody: {directory / of_root.split('/')[0]}`" in refused.stderr
        assert path.stat().st_uid == 0, "given to nobody"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_user_that_is_none_is_an_error(idle_node):
    refused = run("-c", idle_node.write_file(), "--user", "no-such-user")
    assert refused.returncode == 1 and 'there is no user \\"no-such-user\\"' in refused.stderr
