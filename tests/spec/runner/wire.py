# SPDX-License-Identifier: Apache-2.0
"""One TCP connection of an actor, plain or with TLS on it, and SMTP replies as a strict client reads them."""
import asyncio
import errno
import re
import socket
import struct

from .grammar import Fail, Skip


class Gone(Exception):
    """The peer closed or reset the connection."""


def socket_for(host):
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)


def hold_port(host):
    """A socket on a free port that stays ours: bound with SO_REUSEPORT, never listening."""
    try:
        holder = socket_for(host)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, 0))
    except OSError as e:
        if e.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise Skip("this machine has no %s" % host) from None
        raise
    return holder


def written(host, port):
    """As the configuration writes an address and its port."""
    return "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)


class Conn:
    def __init__(self, play, who, sock):
        self.play, self.who, self.sock = play, who, sock
        self.buf = bytearray()
        self.eof = self.closed = False
        self.tls = None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self):
        """Bytes off the wire; none at its end."""
        try:
            return await asyncio.get_running_loop().sock_recv(self.sock, 1 << 18)
        except ConnectionError:
            self.play.note(self.who, "x", "reset by peer")
            return b""

    def absorb(self, raw):
        """Takes in what came off the wire. Its end (no bytes) and that of TLS are the end of the stream."""
        data = raw
        if self.tls is not None:
            data = self.tls.decrypt(raw)
            if not raw:
                self.tls.end("bare")
        if data:
            self.play.note(self.who, "<", data)
            self.buf += data
        if not raw or (self.tls is not None and self.tls.ended):
            self.eof = True
            how = " of TLS: %s" % self.tls.facts["closed"] if self.tls is not None else ""
            self.play.note(self.who, "x", "end of stream" + how)

    async def fill(self):
        """More bytes into buf; Gone at the end."""
        had = len(self.buf)
        while len(self.buf) == had:
            if self.eof:
                raise Gone()
            self.absorb(await self.receive())

    def look(self):
        """What is there already, without waiting."""
        try:
            while not self.eof:
                self.absorb(self.sock.recv(1 << 18))
        except BlockingIOError:
            pass
        except ConnectionError:
            self.eof = True

    def start_tls(self, tls):
        """From here on all bytes go through it; the first may have come with the end of the handshake."""
        self.tls = tls
        data = tls.decrypt(b"")
        if data:
            self.play.note(self.who, "<", data)
        self.buf += data
        self.eof = self.eof or tls.ended

    def take(self, n):
        data = bytes(self.buf[:n])
        del self.buf[:n]
        return data

    async def line(self):
        while True:
            at = self.buf.find(b"\n")
            if at >= 0:
                return self.take(at + 1)
            await self.fill()

    async def until(self, mark):
        """Everything up to and with mark."""
        at, start = -1, 0
        while True:
            at = self.buf.find(mark, start)
            if at >= 0:
                return self.take(at + len(mark))
            start = max(0, len(self.buf) - len(mark))
            await self.fill()

    async def rest(self):
        """Everything up to the end of the stream."""
        try:
            while True:
                await self.fill()
        except Gone:
            return self.take(len(self.buf))

    async def send(self, data):
        self.play.note(self.who, ">", data)
        await self.transmit(self.tls.encrypt(data) if self.tls is not None else data)

    async def transmit(self, raw):
        try:
            await asyncio.get_running_loop().sock_sendall(self.sock, raw)
        except (ConnectionError, OSError) as e:
            self.play.note(self.who, "x", "cannot send: %s" % e)
            raise Gone() from None

    async def trickle(self, data, step=1):
        for i in range(0, len(data), step):
            await self.send(data[i:i + step])
            await asyncio.sleep(0)  # lets the other actors of this play run; no time passes

    def say_farewell(self):
        """The close_notify of TLS, as far as there is room for it."""
        try:
            if self.tls is not None:
                self.sock.send(self.tls.farewell())
        except OSError:
            pass

    def half_close(self):
        self.say_farewell()
        self.truncate()

    def truncate(self):
        """The end of the stream, and within TLS no word about it."""
        self.play.note(self.who, "x", "closes its sending side")
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        if not self.closed:
            self.closed = True
            self.play.note(self.who, "x", "closes")
            self.say_farewell()
            self.forget()

    def vanish(self):
        if not self.closed:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.closed = True
            self.play.note(self.who, "x", "resets the connection")
            self.forget()

    def forget(self):
        loop = asyncio.get_running_loop()  # may still watch it for a task that was cancelled
        loop.remove_reader(self.sock)
        loop.remove_writer(self.sock)
        self.sock.close()

    async def close_gently(self):
        """Says FIN, then reads until the peer does, so that no reset destroys what was sent."""
        self.half_close()
        await self.rest()
        self.close()


class Reply:
    """One SMTP reply (RFC 5321 4.2), read strictly: CRLF, one code on all lines, nothing but text in them."""

    def __init__(self):
        self.lines = []

    code = property(lambda self: int(self.lines[-1][:3]))
    texts = property(lambda self: [line[4:] for line in self.lines])
    text = property(lambda self: "\r\n".join(self.texts))

    @property
    def enhanced(self):
        m = re.match(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)", self.texts[-1])
        return m.group(1) if m else ""

    def __str__(self):
        return " / ".join(self.lines)


async def read_reply(conn):
    reply = Reply()
    while True:
        raw = await conn.line()
        if not re.fullmatch(rb"[2-5][0-9][0-9](?:[ -][^\r\n\0]*)?\r\n", raw):
            raise Fail("not a reply line: %r" % raw)
        line = raw[:-2].decode("utf-8", "replace")
        if reply.lines and line[:3] != reply.lines[0][:3]:
            raise Fail("a reply with two codes: %r" % line)
        reply.lines.append(line)
        if line[3:4] != "-":
            return reply


def stuff(content):
    """Dot-stuffing of content whose lines end in CRLF (RFC 5321 4.5.2)."""
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..")


def unstuff(wire):
    if wire.startswith(b"."):
        wire = wire[1:]
    return wire.replace(b"\r\n.", b"\r\n")


def generate(size, width=72):
    """A message body of exactly `size` bytes (at least 2), CRLF lines, some of which begin with a dot."""
    out = bytearray()
    for n in range(min(size, 1 << 20) // width + 1):
        head = b"." if n % 7 == 3 else b""
        line = head + b"%08d " % n + b"abcdefghijklmnopqrstuvwxyz0123456789" * (width // 36 + 1)
        out += line[:width - 2] + b"\r\n"
    out = out * (size // len(out) + 1)
    del out[size:]
    out[-2:] = b"\r\n"
    if out[-3:-2] == b"\r":
        out[-3:-2] = b"x"
    return bytes(out)
