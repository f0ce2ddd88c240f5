"""Which addresses the server may ask when somebody names one: pins read there, alerts send there.

The server asks from where it stands. Addresses that clouds keep for their machines' credentials (link-local and a few more) are never
asked, whatever names them; whether a private one may be depends on who named it, which callers know.
"""

from __future__ import annotations

import ipaddress
import socket

from windlass.core.errors import Forbidden, Unavailable

# what is asked for a machine's credentials elsewhere than at link-local addresses: AWS and Google by version 6, Alibaba, Oracle, Azure
MACHINES = ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # addresses of version 4, behind a translator
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def addresses_of(host: str, port: int, where: str) -> list[Address]:
    """What a name or an address stands for now. Raises `Unavailable` where it is none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unavailable(f"there is no host {host}", where=where, remedy="is it spelt right, and is there a network?") from None
    return list(dict.fromkeys(parsed(str(address[0])) for *_, address in found))


def parsed(address: str) -> Address:
    """An address as a socket tells it. Raises `ValueError`."""
    return ipaddress.ip_address(address.partition("%")[0])


def is_private(address: Address) -> bool:
    """Whether it is of this machine or a network of its own: anything that is not of the Internet."""
    return not meant_by(address).is_global


def refuse_machines(address: Address, where: str, *, who: str, remedy: str) -> None:
    """Raises `Forbidden` for an address that nobody may ask. `who` is what wanted to: a pin, an alert."""
    meant = meant_by(address)
    if meant.is_link_local or meant.is_multicast or meant.is_unspecified or str(meant) in MACHINES:
        raise Forbidden(f"{meant} is an address that no {who} may ask", where=where, remedy=remedy)


def meant_by(address: Address) -> Address:
    """The address of version 4 that one of version 6 stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in TRANSLATED else None
    return address.ipv4_mapped or translated or address
