"""How much encrypted traffic each pair of peers sends: what an adversary could be recording."""
