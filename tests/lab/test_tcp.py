# SPDX-License-Identifier: Apache-2.0
"""`mode: tcp` hands on every byte, also when both sides have ended while one of them reads slowly."""
import os
import pathlib
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "run"))

from node import Node, free_ports  # noqa: E402

SIZE = 8 << 20
BINS = pathlib.Path(os.environ.get("POSTROADD") or "build/bin/postroadd").resolve().parent


def serve(listening):
    while True:
        try:
            conn, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=pour, args=(conn,), daemon=True).start()


def pour(conn):
    with conn:
        try:
            conn.sendall(b"x" * SIZE)
        except OSError:
            pass  # a probe that did not wait for the end


def receive_all(conn):
    total = 0
    while block := conn.recv(65536):
        total += len(block)
    return total


def test_nothing_is_cut_off_when_both_sides_have_ended(tmp_path):
    port = free_ports(1)[0]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        config = {"version": 1, "listeners": {"in": {"bind": [f"127.0.0.1:{port}"], "mode": "tcp", "pool": "p"}},
                  "pools": {"p": {"health": {"type": "none"},
                                  "servers": {"s": {"address": f"127.0.0.1:{listening.getsockname()[1]}"}}}}}
        node = Node(BINS, tmp_path, config).start()
        try:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.settimeout(30)
                client.connect(("127.0.0.1", port))
                client.shutdown(socket.SHUT_WR)
                assert receive_all(client) == SIZE
        finally:
            assert node.stop() == 0
