"""Policies on the move to post-quantum cryptography, and what a finding says of one."""
