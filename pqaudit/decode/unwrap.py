"""Which function reads which layer, and which layer a link type starts with."""

from __future__ import annotations

from pqaudit.decode.layers import Layer, Unwrap
from pqaudit.decode.link import (
    cisco_hdlc,
    ethernet,
    ip,
    linux_sll,
    linux_sll2,
    mpls,
    nflog,
    null,
    ppp,
    pppoe,
    vlan,
)
from pqaudit.decode.numbers import LinkType
from pqaudit.decode.tunnels import etherip, geneve, gre, gtp_user, l2tp_udp, l2tpv3, teredo, vxlan
from pqaudit.decode.wifi import avs, prism, radiotap, wifi

UNWRAP: dict[Layer, Unwrap] = {
    Layer.IP: ip,
    Layer.ETHERNET: ethernet,
    Layer.VLAN: vlan,
    Layer.PPP: ppp,
    Layer.PPPOE: pppoe,
    Layer.MPLS: mpls,
    Layer.NULL: null,
    Layer.C_HDLC: cisco_hdlc,
    Layer.LINUX_SLL: linux_sll,
    Layer.LINUX_SLL2: linux_sll2,
    Layer.NFLOG: nflog,
    Layer.WIFI: wifi,
    Layer.WIFI_RADIOTAP: radiotap,
    Layer.WIFI_PRISM: prism,
    Layer.WIFI_AVS: avs,
    Layer.GRE: gre,
    Layer.ETHERIP: etherip,
    Layer.L2TPV3: l2tpv3,
    Layer.VXLAN: vxlan,
    Layer.GENEVE: geneve,
    Layer.GTP_USER: gtp_user,
    Layer.L2TP_UDP: l2tp_udp,
    Layer.TEREDO: teredo,
}
"""All layers but IPv4 and IPv6, which the decoder reads itself for their fragments and transports."""

LAYERS_BY_LINK_TYPE: dict[int, Layer] = {
    LinkType.NULL.value: Layer.NULL,
    LinkType.LOOP.value: Layer.NULL,
    LinkType.ETHERNET.value: Layer.ETHERNET,
    LinkType.PPP.value: Layer.PPP,
    LinkType.PPP_HDLC.value: Layer.PPP,
    LinkType.PPP_ETHER.value: Layer.PPPOE,
    LinkType.RAW_BSD.value: Layer.IP,
    LinkType.RAW_OPENBSD.value: Layer.IP,
    LinkType.RAW.value: Layer.IP,
    LinkType.IPV4.value: Layer.IPV4,
    LinkType.IPV6.value: Layer.IPV6,
    LinkType.C_HDLC.value: Layer.C_HDLC,
    LinkType.LINUX_SLL.value: Layer.LINUX_SLL,
    LinkType.LINUX_SLL2.value: Layer.LINUX_SLL2,
    LinkType.NFLOG.value: Layer.NFLOG,
    LinkType.IEEE802_11.value: Layer.WIFI,
    LinkType.IEEE802_11_PRISM.value: Layer.WIFI_PRISM,
    LinkType.IEEE802_11_RADIOTAP.value: Layer.WIFI_RADIOTAP,
    LinkType.IEEE802_11_AVS.value: Layer.WIFI_AVS,
}
