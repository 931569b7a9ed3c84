"""Which addresses a receiver may be at: public ones, unless its settings allow private ones.

A receiver's address is set by whoever writes the settings, and what is at a private address
(169.254.169.254, an admin page on loopback) was not meant to be called from here. What counts is
the address a connection is made to: names are resolved once, judged, and the judged addresses are
connected to, so that a name cannot mean one thing when looked at and another when called.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

NAT64: Final = IPv6Network("64:ff9b::/96")
"""Addresses whose last 32 bits are the IPv4 address a translator calls (RFC 6052)."""


class PrivateAddressError(OSError):
    """A name means an address that is not public."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, and stands for no other address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return all(each.is_global and not each.is_multicast for each in (ip, *_inside(ip)))


def _inside(ip: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(ip, IPv4Address):
        return []
    inside = [*(ip.teredo or ()), ip.ipv4_mapped, ip.sixtofour]
    if ip in NAT64:
        inside.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return [each for each in inside if each is not None]


def is_private_literal(host: str) -> bool:
    """Whether a URL's host is itself an IP address, and not a public one.

    aiohttp connects to such without asking the resolver. Other spellings (`127.1`, `0x7f000001`)
    are names to it and go through the resolver.
    """
    try:
        ip_address(host)
    except ValueError:
        return False
    return not is_public(host)


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As aiohttp asks for it.

        Raises:
            PrivateAddressError: Any of the name's addresses is not public. All are refused then: a
                name that means both is not one to be trusted.
        """
        found = await self._inner.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise PrivateAddressError
        return found

    async def close(self) -> None:
        """As aiohttp asks for it."""
        await self._inner.close()
