"""Headrace on PostgreSQL beside its peers, in one run on one machine, with the raw floor between them.

`python -m bench.peers [--json PATH] [--only peers] [--measures names] [--quick]`. Each peer is one small
module of `queues/` that runs in an environment of its own (`requirements/`, made by uv in `.cache/peers`;
`graphile/`, made by npm) at its best documented settings, which `catalogue.py` states. The harness starts
PostgreSQL, Redis and RabbitMQ on the loopback, gives every measurement an empty queue, reads progress from
what the job bodies write and CPU time from /proc. A peer that fails says why in its keys and stops nobody.
"""
