"""Real servers for tests, proof and bench: each in a directory of its own, on a free port of the loopback.

A server ends with whoever started it, even if that is killed, and its directory goes with it.
"""
