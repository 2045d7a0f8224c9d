"""Stores: adapters of `ports.store`."""
