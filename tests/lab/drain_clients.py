#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that go on while virtual addresses move, in test_drain.py.

    sessions VIP…     long sessions: some with a message every 200 ms, one whose message takes SLOW seconds, one that is idle;
                      one line of JSON for each line that is read from stdin, a last one at its end
    resets VIP…       a line for each TCP reset that arrives from one of these addresses: TIME SOURCE PORT TARGET PORT

The hard thing is to tell an end that was said (421 where no transaction is open) from one that was not: whatever else ends a
transaction or a connection is written down with the place at which it did.
"""
import asyncio
import ctypes
import json
import socket
import struct
import sys
import time

BUSY, SLOW, PAUSE = 6, 12, 0.2
TIMEOUT = 15


class Edge(Exception):
    """The server has said 421 where nothing was under way."""


class Cut(Exception):
    """Anything else."""


class Client:
    def __init__(self, vip, kind, number):
        self.vip, self.kind, self.name = vip, kind, f"{kind}{number}@{vip}"
        self.messages = self.edges = self.connections = 0
        self.cuts, self.refused = [], []
        self.place, self.began = "", 0.0

    async def line(self):
        raw = await asyncio.wait_for(self.reader.readline(), TIMEOUT)
        if not raw.endswith(b"\n"):
            raise Cut(f"closed, {raw!r}")
        return raw

    async def reply(self):
        while (raw := await self.line())[3:4] == b"-":
            pass
        return raw

    async def say(self, text, wanted, place, at_edge=False):
        self.place = place
        self.writer.write(text)
        raw = await self.reply()
        if at_edge and raw.startswith(b"421"):
            raise Edge
        if not raw.startswith(wanted):
            raise Cut(f"answered {raw!r}")

    async def connect(self):
        self.place = "connect"
        try:
            self.reader, self.writer = await asyncio.wait_for(asyncio.open_connection(self.vip, 25), TIMEOUT)
        except (OSError, asyncio.TimeoutError) as e:
            self.refused.append((time.monotonic(), repr(e)))
            raise
        self.connections += 1
        await self.say(b"", b"220", "greeting", at_edge=True)
        await self.say(b"EHLO client.lab.test\r\n", b"250", "EHLO", at_edge=True)

    async def message(self):
        await self.say(b"MAIL FROM:<a@client.lab.test>\r\n", b"250", "MAIL", at_edge=True)
        await self.say(b"RCPT TO:<b@mx.lab.test>\r\n", b"250", "RCPT")
        await self.say(b"DATA\r\n", b"354", "DATA")
        self.place = "content"
        if self.kind == "slow":
            for i in range(SLOW * 5):
                self.writer.write(b"%d %s\r\n" % (i, b"x" * 900))
                await self.writer.drain()
                await asyncio.sleep(0.2)
        await self.say(b"Subject: s\r\n\r\nx\r\n.\r\n", b"250", "dot")
        self.place = "between"
        self.messages += 1

    async def idle(self):
        """Says nothing for seconds; hears 421 or nothing."""
        self.place = "idle"
        try:
            raw = await asyncio.wait_for(self.reader.readline(), 8)
        except asyncio.TimeoutError:
            await self.say(b"NOOP\r\n", b"250", "NOOP", at_edge=True)
            return
        if not raw.startswith(b"421"):
            raise Cut(f"idle, and heard {raw!r}")
        raise Edge

    async def session(self):
        await self.connect()
        while True:
            await (self.idle() if self.kind == "idle" else self.message())
            await asyncio.sleep(PAUSE)

    def edge(self):
        """An end that was said; who was not even greeted was refused."""
        if self.place == "greeting":
            self.refused.append((time.monotonic(), "421 for a greeting"))
        else:
            self.edges += 1

    async def run(self):
        while True:
            try:
                await self.session()
            except Edge:
                self.edge()
            except (OSError, Cut, asyncio.TimeoutError) as e:
                if self.place != "connect":
                    self.cuts.append((time.monotonic(), self.place, repr(e)))
            finally:
                if self.place != "connect":
                    self.writer.close()
            await asyncio.sleep(0.05)


def tell(clients):
    print(json.dumps({
        "messages": sum(c.messages for c in clients), "edges": sum(c.edges for c in clients),
        "connections": sum(c.connections for c in clients),
        "slow": sum(c.messages for c in clients if c.kind == "slow"), "idle_edges": sum(c.edges for c in clients if c.kind == "idle"),
        "cuts": [(c.name, *cut) for c in clients for cut in c.cuts],
        "refused": [(c.name, *r) for c in clients for r in c.refused]}), flush=True)


async def sessions(vips):
    clients = [Client(v, kind, n) for v in vips for kind, count in (("busy", BUSY), ("slow", 1), ("idle", 1)) for n in range(count)]
    tasks = [asyncio.create_task(c.run()) for c in clients]
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        for task in tasks:
            if task.done():
                task.result()  # ends us: a client that is no more would hear of nothing
        tell(clients)
    for task in tasks:
        task.cancel()
    tell(clients)


# ---- resets ----

# IPv4 or IPv6, without options or extension headers in IPv6; TCP with the RST flag. Offset 0 is the IP header.
FILTER = [
    (0x30, 0, 0, 0), (0x54, 0, 0, 0xf0), (0x15, 0, 5, 0x40),             # 0: version; 4 or else to 8
    (0x30, 0, 0, 9), (0x15, 0, 8, 6), (0xb1, 0, 0, 0), (0x50, 0, 0, 13),  # 3: protocol; x = header's length; flags
    (0x05, 0, 0, 4),                                                      # 7: to 12
    (0x15, 0, 4, 0x60), (0x30, 0, 0, 6), (0x15, 0, 2, 6), (0x30, 0, 0, 53),
    (0x45, 1, 0, 4), (0x06, 0, 0, 0), (0x06, 0, 0, 0xffff),
]
SO_ATTACH_FILTER, ETH_P_ALL = 26, 3


def attach(sock):
    """Only resets come through."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in FILTER))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(FILTER), ctypes.addressof(code)))


def ends_of(packet):
    """(source, port, target, port) of a TCP packet."""
    if packet[0] >> 4 == 4:
        head = (packet[0] & 15) * 4
        source, target = (socket.inet_ntop(socket.AF_INET, packet[a:a + 4]) for a in (12, 16))
    else:
        head = 40
        source, target = (socket.inet_ntop(socket.AF_INET6, packet[a:a + 16]) for a in (8, 24))
    return source, *struct.unpack_from("!H", packet, head), target, *struct.unpack_from("!H", packet, head + 2)


def resets(vips):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)  # hears nothing before it is filtered
    attach(sock)
    sock.bind(("eth0", ETH_P_ALL))
    print("ready", flush=True)
    while True:
        packet, address = sock.recvfrom(256)
        source, sport, target, dport = ends_of(packet)
        if source in vips and address[2] == socket.PACKET_HOST:
            print(f"{time.monotonic():.6f} {source} {sport} {target} {dport} {address[4].hex(':')}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "resets":
        resets(sys.argv[2:])
    else:
        asyncio.run(sessions(sys.argv[2:]))
