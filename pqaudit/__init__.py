"""Passive audit of IKEv2 for the post-quantum move."""

__version__ = "0.1.0"
