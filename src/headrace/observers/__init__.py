"""Whoever counts: adapters of `ports.observer`."""
