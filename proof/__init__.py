"""The chaos ledger: a shop with real processes, killed and stopped and starved of disk, and what became of its jobs.

`python -m proof [--jobs N] [--seed N] [--json PATH]` runs an API, two trees of workers, producers and readers on
loopback, injects faults, lets everything heal, and counts from outside: from the producers' own log, from a file
that the jobs write beside the database, and from the database itself.
"""
