"""Headrace beside its peers."""
