"""What upstreams cost and what they hold, beside three circuit breakers of Python.

`python -m bench.upstreams [--quick] [--json PATH] [names…]`: the guard on a healthy call, half-open over several
processes, a million held jobs on PostgreSQL, how soon a fleet knows, and an outage with workers as users run them.
The upstream is a server of the bench's own, which counts for itself.
"""
