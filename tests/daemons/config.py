"""What strongSwan reads, from Python: nested mappings as sections of a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Section: TypeAlias = Mapping[str, "str | Section"]

CONNECTION = "c"
CHILD_PROPOSAL = "aes256gcm16"
PSK = "a secret of the tests"
PPK_ID = "ppk.example"
PPK = "0x" + "5a" * 32


@dataclass(frozen=True)
class Settings:
    """What one peer is set up with. Proposals are in strongSwan's notation, as aes256-sha256-x25519-ke1_mlkem768."""

    proposals: tuple[str, ...]
    child_proposals: tuple[str, ...] = (CHILD_PROPOSAL,)
    ppk: bool = False
    ppk_required: bool = False
    psk: str = PSK
    connection: Section = field(default_factory=dict)  # what else swanctl.conf says of a connection


def render(section: Section, depth: int = 0) -> str:
    """A configuration file."""
    lines: list[str] = []
    for name, value in section.items():
        if isinstance(value, str):
            lines.append(f"{'  ' * depth}{name} = {value}\n")
        else:
            lines.append(f"{'  ' * depth}{name} {{\n{render(value, depth + 1)}{'  ' * depth}}}\n")
    return "".join(lines)


def strongswan_conf(charon: Section) -> str:
    """The daemon's own settings, with more of section charon."""
    return render(
        {
            "charon": {
                "load_modular": "no",
                "load": "random nonce openssl pem x509 pubkey drbg kernel-libipsec kernel-netlink socket-default vici",
                "install_virtual_ip": "no",
                "filelog": {
                    "log": {
                        "path": "/run/peer/log",
                        "default": "1",
                        # Level 2 of each tells: the proposals, the state of an SA, its SPIs.
                        "cfg": "2",
                        "ike": "2",
                        "mgr": "2",
                        "ike_name": "yes",
                        "flush_line": "yes",
                    }
                },
                # ESP in user space, as not every kernel has it, and as protocol 50, not in UDP.
                "plugins": {"kernel-libipsec": {"raw_esp": "yes"}},
                **charon,
            }
        }
    )


def swanctl_conf(settings: Settings, own: str, other: str) -> str:
    """The one connection of a peer, with the names of the two sides: ``a`` and ``b``."""
    ppk: Section = {"ppk_id": PPK_ID, "ppk_required": "yes" if settings.ppk_required else "no"}
    secret: Section = {"ppk-c": {"id-1": PPK_ID, "secret": PPK}}
    return render(
        {
            "connections": {
                CONNECTION: {
                    "version": "2",
                    # It would move all that follows IKE_SA_INIT to port 4500.
                    "mobike": "no",
                    "local_addrs": ADDRESSES[own],
                    "remote_addrs": ADDRESSES[other],
                    "proposals": ", ".join(settings.proposals),
                    "local": {"auth": "psk", "id": f"{own}.example"},
                    "remote": {"auth": "psk", "id": f"{other}.example"},
                    "children": {
                        CONNECTION: {
                            "local_ts": f"{PROTECTED[own]}/32",
                            "remote_ts": f"{PROTECTED[other]}/32",
                            "esp_proposals": ", ".join(settings.child_proposals),
                        }
                    },
                    **(ppk if settings.ppk else {}),
                    **settings.connection,
                }
            },
            "secrets": {"ike-c": {"secret": f'"{settings.psk}"'}, **(secret if settings.ppk else {})},
        }
    )


# Of IKE and ESP, and of the hosts whose traffic a tunnel carries. They exist only in namespaces of their own.
ADDRESSES = {"a": "10.78.0.1", "b": "10.78.0.2"}
PROTECTED = {"a": "10.79.1.1", "b": "10.79.2.1"}
