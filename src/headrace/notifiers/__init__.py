"""Hints between processes: each file is one way to ring; `ports.notifier` says what they promise."""
