"""Numbers that the shape of an IKE message depends on.

Only what decides how octets are cut apart stands here, as RFC 7296, 7383 and 2408 number it. What a number means to an
auditor (names, status, strength) is data in ``rules/registries``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

HEADER_OCTETS: Final = 28  # RFC 7296 section 3.1
SPI_OCTETS: Final = 8
ZERO_SPI: Final = bytes(SPI_OCTETS)
GENERIC_HEADER_OCTETS: Final = 4  # RFC 7296 section 3.2
PROPOSAL_HEADER_OCTETS: Final = 8  # RFC 7296 section 3.3.1
TRANSFORM_HEADER_OCTETS: Final = 8  # RFC 7296 section 3.3.2
ATTRIBUTE_HEADER_OCTETS: Final = 4  # RFC 7296 section 3.3.5
ATTRIBUTE_FORMAT_TV: Final = 0x8000
KE_HEADER_OCTETS: Final = 4  # RFC 7296 section 3.4
NOTIFY_HEADER_OCTETS: Final = 4  # RFC 7296 section 3.10
DELETE_HEADER_OCTETS: Final = 4  # RFC 7296 section 3.11
FRAGMENT_HEADER_OCTETS: Final = 4  # RFC 7383 section 2.5

MAJOR_IKEV1: Final = 1
MAJOR_IKEV2: Final = 2


# Header flags of IKEv2 (RFC 7296 section 3.1) and IKEv1 (RFC 2408 section 3.1). Plain numbers: an operation on an
# IntFlag member costs more than all the rest of reading a header.
FLAG_INITIATOR: Final = 0x08
FLAG_RESPONSE: Final = 0x20
V1_FLAG_ENCRYPTION: Final = 0x01


class Exchange(IntEnum):
    """Exchange types that pqaudit reasons about; names of all others come from the registry."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37
    IKE_SESSION_RESUME = 38
    IKE_INTERMEDIATE = 43
    IKE_FOLLOWUP_KE = 44


FIRST_IKEV2_EXCHANGE: Final = 34  # 0 to 33 belong to IKEv1 (RFC 7296 section 3.1)


class Payload(IntEnum):
    """Payload types with a structure that is read (RFC 7296 section 3.2, RFC 7383 section 2.5)."""

    NONE = 0
    SA = 33
    KE = 34
    IDI = 35
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR_ID = 43
    SK = 46
    SKF = 53


class V1Payload(IntEnum):
    """Payload types of IKEv1 with a structure that is read (RFC 2408 section 3.1)."""

    NONE = 0
    SA = 1
    KE = 4
    VENDOR_ID = 13


class TransformType(IntEnum):
    """Transform types (RFC 7296 section 3.3.2, RFC 9370 section 2.2.1)."""

    ENCR = 1
    PRF = 2
    INTEG = 3
    KE = 4
    SN = 5
    ADDKE1 = 6
    ADDKE2 = 7
    ADDKE3 = 8
    ADDKE4 = 9
    ADDKE5 = 10
    ADDKE6 = 11
    ADDKE7 = 12


ADDITIONAL_KEY_EXCHANGES: Final = range(TransformType.ADDKE1, TransformType.ADDKE7 + 1)
ATTRIBUTE_KEY_LENGTH: Final = 14
PROTOCOL_IKE: Final = 1  # RFC 7296 section 3.3.1
KE_METHOD_NONE: Final = 0  # RFC 9370 section 2.2.1: no exchange in this slot


class Notify(IntEnum):
    """Notify types that pqaudit reasons about (RFC 7296, 5685, 7383, 7427, 9242, 9593)."""

    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    COOKIE = 16390
    REDIRECT = 16407
    FRAGMENTATION_SUPPORTED = 16430
    SIGNATURE_HASH_ALGORITHMS = 16431
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438
    SUPPORTED_AUTH_METHODS = 16443


# Types of which not only the presence but the data tells something: the wanted group, the new gateway, the hashes.
NOTIFIES_WITH_DATA: Final = frozenset(
    (Notify.INVALID_KE_PAYLOAD, Notify.REDIRECT, Notify.SIGNATURE_HASH_ALGORITHMS, Notify.SUPPORTED_AUTH_METHODS)
)
FIRST_STATUS_NOTIFY: Final = 16384  # below are errors (RFC 7296 section 3.10.1)

V1_ATTRIBUTE_ENCRYPTION: Final = 1  # RFC 2409 appendix A
V1_ATTRIBUTE_HASH: Final = 2
V1_ATTRIBUTE_GROUP: Final = 4
V1_ATTRIBUTE_KEY_LENGTH: Final = 14
V1_SA_HEADER_OCTETS: Final = 8  # DOI and situation (RFC 2407 section 4.6.1)
V1_DOI_IPSEC: Final = 1
