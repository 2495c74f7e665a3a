"""Real search servers on loopback, started by the tests that need one."""
