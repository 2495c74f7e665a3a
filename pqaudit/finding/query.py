"""Which findings a question is about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from pqaudit.finding.document import Document
from pqaudit.finding.facets import canonical_address, ends, methods, moment, vendors

Network = IPv4Network | IPv6Network
_MAPPED = IPv6Network("::ffff:0:0/96")
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Query:
    """A filter: each attribute that is set must hold, and of one with several values any.

    Attributes:
        peers: addresses, canonical, of either side.
        networks: of which either side's address is part. A network of IPv6 holds no IPv4 addresses.
        verdicts, protections, reasons, sensors: values.
        methods: numbers of selected key exchange methods, in any slot.
        vendors: of either side.
        deviations: slugs.
        since, until: times in milliseconds as ``moment`` gives them; ``since`` is part of the span, ``until`` is not.
    """

    peers: frozenset[str] = _NONE
    networks: frozenset[Network] = frozenset()
    verdicts: frozenset[str] = _NONE
    protections: frozenset[str] = _NONE
    reasons: frozenset[str] = _NONE
    methods: frozenset[int] = frozenset()
    vendors: frozenset[str] = _NONE
    deviations: frozenset[str] = _NONE
    sensors: frozenset[str] = _NONE
    since: str | None = None
    until: str | None = None

    def matches(self, finding: Document) -> bool:
        """Whether a finding is among those asked for."""
        own = finding["pqaudit"]
        return (
            (not self.verdicts or own["verdict"] in self.verdicts)
            and (not self.protections or own["protection"] in self.protections)
            and (not self.reasons or own["reason"] in self.reasons)
            and (not self.sensors or finding["observer"]["name"] in self.sensors)
            and (self.since is None or moment(finding) >= self.since)
            and (self.until is None or moment(finding) < self.until)
            and (not self.peers or not self.peers.isdisjoint(ends(finding)))
            and (not self.networks or any(_within(end, self.networks) for end in ends(finding)))
            and (not self.methods or not self.methods.isdisjoint(methods(finding)))
            and (not self.vendors or not self.vendors.isdisjoint(vendors(finding)))
            and (not self.deviations or any(d["id"] in self.deviations for d in own["deviations"]))
        )


@lru_cache(maxsize=8192)
def _within(address: str, networks: frozenset[Network]) -> bool:
    number = ip_address(address)
    return any(number in network for network in networks)


def peer_address(text: str) -> str:
    """An address as ``Query.peers`` takes it.

    Raises:
        ValueError: it is none, in one sentence.
    """
    try:
        return canonical_address(text.strip().strip("[]"))
    except ValueError:
        hint = "; --network takes networks" if "/" in text else ""
        raise ValueError(f"{text!r} is no IP address{hint}") from None


def peer_network(text: str) -> Network:
    """A network as ``Query.networks`` takes it; bits behind the prefix are ignored.

    Raises:
        ValueError: it is none, in one sentence.
    """
    try:
        if "%" in text:
            raise ValueError(text)
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network; it looks like 192.0.2.0/24 or 2001:db8::/32") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((mapped, network.prefixlen - _MAPPED.prefixlen))
    return network
