"""Brokers: where messages come from and events go; `ports.bridge` says what they promise."""
