"""The sensor: live traffic to findings, for months."""
