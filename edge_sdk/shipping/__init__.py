"""Bringing a release to a device: what is sent, how it gets there, who may send it."""
