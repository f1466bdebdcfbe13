# SPDX-License-Identifier: Apache-2.0
"""PROXY protocol headers, version 1 and 2 (haproxy's proxy-protocol.txt): written for clients, read for backends."""
import ipaddress
import re
import struct

from .grammar import Fail
from .script import text_of

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FAMILIES = {0x00: ("UNSPEC", 0), 0x11: ("TCP4", 4), 0x21: ("TCP6", 16)}
CRC32C, SSL = 0x03, 0x20
LINE_MAX = 107


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def endpoint(text):
    """192.0.2.1:25 or [2001:db8::1]:25"""
    m = re.fullmatch(r"\[?([0-9a-fA-F:.]+?)\]?:(\d+)", text)
    if not m:
        raise Fail("not an address with a port: %s" % text)
    return ipaddress.ip_address(m[1]), int(m[2])


def show(ip, port):
    return ("[%s]:%d" if ip.version == 6 else "%s:%d") % (ip, port)


# ---- writing ----

def header_v1(ends):
    if not ends:
        return b"PROXY UNKNOWN\r\n"
    (src, sport), (dst, dport) = ends
    return b"PROXY TCP%d %s %s %d %d\r\n" % (src.version, str(src).encode(), str(dst).encode(), sport, dport)


def header_v2(ends, tlvs, local, crc):
    addresses, family = b"", 0x00
    if ends:
        (src, sport), (dst, dport) = ends
        addresses = src.packed + dst.packed + struct.pack("!HH", sport, dport)
        family = 0x21 if src.version == 6 else 0x11
    if crc:
        tlvs += bytes([CRC32C, 0, 4]) + bytes(4)
    body = addresses + tlvs
    head = SIGNATURE + bytes([0x20 if local else 0x21, family]) + struct.pack("!H", len(body))
    if crc:
        body = body[:-4] + struct.pack("!I", crc32c(head + body))
    return head + body


class ProxyClient:
    async def do_proxy1(self, s):
        """proxy1 SRC DST | proxy1 unknown"""
        await self.send_header(s, header_v1(self.ends(s)))

    async def do_proxy2(self, s):
        """proxy2 [SRC DST] [local] [crc] [tlv=HEX]"""
        tlvs = bytes.fromhex(text_of(s.pairs["tlv"]).decode()) if "tlv" in s.pairs else b""
        words = [str(a) for a in s.args]
        await self.send_header(s, header_v2(self.ends(s), tlvs, "local" in words, "crc" in words))

    @staticmethod
    def ends(s):
        return [endpoint(str(a)) for a in s.args if ":" in str(a)]

    async def send_header(self, s, header):
        """[step=N] bytes per write, [then="…"] in the same write."""
        self.preamble.append(s)
        header += text_of(s.pairs["then"]) if "then" in s.pairs else b""
        if "step" in s.pairs:
            await self.conn.trickle(header, int(s.pairs["step"].text))
        else:
            await self.conn.send(header)


# ---- reading ----

def read_v1(line):
    m = re.fullmatch(rb"PROXY TCP([46]) (\S+) (\S+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n", line)
    if len(line) > LINE_MAX or not (m or line.startswith(b"PROXY UNKNOWN")):
        raise Fail("not a PROXY header: %r" % line)
    if not m:
        return {"version": 1, "command": "PROXY", "family": "UNKNOWN", "src": None, "dst": None, "tlv": {}}
    try:
        src, dst = (ipaddress.ip_address(m[n].decode("latin-1")) for n in (2, 3))
    except ValueError:
        raise Fail("not a PROXY header: %r" % line) from None
    if {src.version, dst.version} != {int(m[1])} or int(m[4]) > 65535 or int(m[5]) > 65535:
        raise Fail("a PROXY header that contradicts itself: %r" % line)
    return {"version": 1, "command": "PROXY", "family": "TCP%s" % m[1].decode(), "tlv": {},
            "src": show(src, int(m[4])), "dst": show(dst, int(m[5]))}


def read_v2(header):
    command, family = header[12], FAMILIES.get(header[13])
    if not header.startswith(SIGNATURE) or command not in (0x20, 0x21) or family is None:
        raise Fail("not a PROXY header: %r" % header)
    name, width = family
    size, body = (2 * width + 4 if width else 0), header[16:]
    if len(body) < size:
        raise Fail("a PROXY header without its addresses: %r" % header)
    out = {"version": 2, "command": "PROXY" if command == 0x21 else "LOCAL", "family": name, "src": None, "dst": None}
    if width:
        sport, dport = struct.unpack("!HH", body[2 * width:size])
        out["src"] = show(ipaddress.ip_address(body[:width]), sport)
        out["dst"] = show(ipaddress.ip_address(body[width:2 * width]), dport)
    out["tlv"] = read_tlvs(body[size:])
    check_crc(header, out["tlv"].get("%02x" % CRC32C))
    ssl = out["tlv"].get("%02x" % SSL)
    if ssl is not None:
        out["ssl"] = {"client": ssl[0], "verify": int.from_bytes(ssl[1:5], "big"), "tlv": read_tlvs(ssl[5:])}
    return out


def read_tlvs(data):
    """By their type, two hexadecimal digits."""
    out, at = {}, 0
    while at < len(data):
        end = at + 3 + int.from_bytes(data[at + 1:at + 3], "big")
        if end > len(data) or at + 3 > len(data):
            raise Fail("a PROXY header with half a TLV: %r" % data)
        out["%02x" % data[at]] = data[at + 3:end]
        at = end
    return out


def check_crc(header, said):
    if said is None:
        return
    at = header.rindex(bytes([CRC32C, 0, 4]) + said) + 3
    if struct.pack("!I", crc32c(header[:at] + bytes(4) + header[at + 4:])) != said:
        raise Fail("the checksum of the PROXY header is wrong")


class ProxyServer:
    async def do_proxy(self, s):
        """proxy [v1|v2|any]: a header comes first"""
        await self.read_proxy(str(s.args[0]) if s.args else "any")

    async def read_proxy(self, version):
        if self.is_check and self.proxied is not None:
            return  # it was found out by its header
        while len(self.conn.buf) < 1:
            await self.conn.fill()
        if version == "v1" or (version == "any" and self.conn.buf[:1] == b"P"):
            self.proxied = read_v1(await self.conn.until(b"\r\n"))
        else:
            self.proxied = read_v2(await self.take_v2())
        self.note_proxy()

    async def take_v2(self):
        while len(self.conn.buf) < 16:
            if not SIGNATURE.startswith(bytes(self.conn.buf[:12])):
                raise Fail("not a PROXY header: %r" % bytes(self.conn.buf))
            await self.conn.fill()
        need = 16 + int.from_bytes(self.conn.buf[14:16], "big")
        while self.conn.buf.startswith(SIGNATURE) and len(self.conn.buf) < need:
            await self.conn.fill()
        return self.conn.take(need)
