"""A real S3 server on loopback, started by the tests that need one."""
