#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What talks over a virtual address in test_flows.py: a server, long sessions, a storm of short ones, and who announces.

    server NAME PORT        greets with its name, answers lines whose numbers follow one another
    sessions VIP PORT       commands on stdin, one answer each: open N, rounds K, fetch BYTES, quit
    storm VIP PORT          short connections one after the other until stdin ends, then what came of each
    announce INTERFACE VIP  tells the network that the address is here now

The hard thing is that nothing may be missed: both sides number what they say, so a lost or repeated byte is an error, and
so is an end of a connection that was not asked for.
"""
import asyncio
import ipaddress
import json
import socket
import struct
import sys
import time

TASKS = 8
PAUSE = 0.4
RATE = 500  # exchanges a second of all sessions together: more would leave a busy machine no time for anything else
PADDING = b"x" * 700


class Server(asyncio.Protocol):
    name = b""

    def connection_made(self, transport):
        self.transport, self.last, self.rest = transport, 0, b""
        transport.write(self.name + b"\n")

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            word, _, padding = line.partition(b" ")
            if word == b"quit":
                self.transport.write(b"bye\n")
                self.transport.close()
            elif word == b"fetch":
                self.transport.write(b"y" * int(padding) + b"\n")
            elif int(word) == self.last + 1 and padding in (b"", PADDING):
                self.last += 1
                self.transport.write(b"%d %s %s\n" % (self.last, self.name, PADDING))
            else:
                self.transport.write(b"unexpected\n")
                self.transport.close()


async def serve(name, port):
    Server.name = name.encode()
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", int(port)))
    server = await loop.create_server(lambda: Server(), sock=sock, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


class Session:
    """One connection that never rests for long, until told to end."""

    count = 0

    def __init__(self, vip, port):
        Session.count += 1
        self.vip, self.port = vip, port
        self.number, self.node, self.error, self.ending = 0, "", None, False

    async def start(self):
        self.reader, self.writer = await asyncio.open_connection(self.vip, self.port)
        self.node = (await self.reader.readline()).decode().strip()
        self.lock = asyncio.Lock()
        self.task = asyncio.create_task(self.run())

    async def run(self):
        try:
            while not self.ending:
                async with self.lock:
                    await self.exchange()
                await asyncio.sleep(max(PAUSE, Session.count / RATE))
        except (OSError, ValueError, asyncio.IncompleteReadError) as e:
            self.error = f"{self.node} after {self.number}: {e!r}"

    async def exchange(self):
        self.writer.write(b"%d %s\n" % (self.number + 1, PADDING))
        answer = await self.reader.readuntil(b"\n")
        if answer != b"%d %s %s\n" % (self.number + 1, self.node.encode(), PADDING):
            raise ValueError(f"unexpected {answer[:60]!r}")
        self.number += 1

    async def fetch(self, n):
        async with self.lock:
            self.writer.write(b"fetch %d\n" % n)
            if await self.reader.readexactly(n + 1) != b"y" * n + b"\n":
                self.error = "other bytes"

    async def end(self):
        self.ending = True
        await self.task
        if self.error is None:
            self.writer.write(b"quit\n")
            if await self.reader.read() != b"bye\n":
                self.error = f"{self.node}: no good end"
            self.writer.close()


async def open_sessions(sessions, vip, port, n):
    fresh = [Session(vip, port) for _ in range(n)]
    for at in range(0, n, 100):
        await asyncio.gather(*(s.start() for s in fresh[at:at + 100]))
    sessions += fresh


async def rounds(sessions, k):
    """All of them have said and heard k more things, or are in error."""
    wanted = {s: s.number + k for s in sessions}
    while any(s.number < n and s.error is None for s, n in wanted.items()):
        await asyncio.sleep(0.05)


async def talk(vip, port):
    sessions = []
    loop = asyncio.get_running_loop()
    while True:
        command = (await loop.run_in_executor(None, sys.stdin.readline)).split()
        if not command or command[0] == "quit":
            break
        try:
            if command[0] == "open":
                await open_sessions(sessions, vip, int(port), int(command[1]))
            elif command[0] == "rounds":
                await rounds(sessions, int(command[1]))
            elif command[0] == "fetch":
                await asyncio.gather(*(s.fetch(int(command[1])) for s in sessions))
        except (OSError, asyncio.IncompleteReadError) as e:
            sessions.append(Session(vip, port))
            sessions[-1].error = repr(e)
        report(sessions)
    await asyncio.gather(*(s.end() for s in sessions if hasattr(s, "task")))
    report(sessions)


def report(sessions):
    nodes = {}
    for s in sessions:
        nodes[s.node] = nodes.get(s.node, 0) + 1
    errors = [s.error for s in sessions if s.error]
    print(json.dumps({"nodes": nodes, "errors": len(errors), "first": errors[:3]}), flush=True)


async def short(vip, port, results, stopping):
    while not stopping.is_set():
        begun, node = time.monotonic(), ""
        try:
            reader, writer = await asyncio.open_connection(vip, port)
            node = (await reader.readline()).decode().strip()
            writer.write(b"1\nquit\n")
            rest = await reader.read()
            ok = rest == b"1 %s %s\nbye\n" % (node.encode(), PADDING)
            results.append((begun, node, "" if ok else f"cut: {rest[:40]!r}"))
            writer.close()
        except OSError as e:
            results.append((begun, node, repr(e)))
        await asyncio.sleep(0.002)


async def storm(vip, port):
    results, stopping = [], asyncio.Event()
    tasks = [asyncio.create_task(short(vip, int(port), results, stopping)) for _ in range(TASKS)]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    stopping.set()
    await asyncio.gather(*tasks)
    print(json.dumps(results), flush=True)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def announce(interface, vip):
    """A gratuitous ARP, or an unsolicited neighbour advertisement with the override flag."""
    ip = ipaddress.ip_address(vip)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((interface, 0))
    mac = raw.getsockname()[4]
    if ip.version == 4:
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + ip.packed + b"\0" * 6 + ip.packed
        raw.send(b"\xff" * 6 + mac + b"\x08\x06" + arp)
        return
    everyone = ipaddress.ip_address("ff02::1").packed
    body = bytearray(struct.pack("!BBHI", 136, 0, 0, 0x20000000) + ip.packed + b"\x02\x01" + mac)
    body[2:4] = struct.pack("!H", checksum(ip.packed + everyone + struct.pack("!II", len(body), 58) + bytes(body)))
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + ip.packed + everyone
    raw.send(b"\x33\x33\0\0\0\x01" + mac + b"\x86\xdd" + header + bytes(body))


def main():
    role, *args = sys.argv[1:]
    if role == "announce":
        announce(*args)
    else:
        asyncio.run({"server": serve, "sessions": talk, "storm": storm}[role](*args))


if __name__ == "__main__":
    main()
