"""The agent: what puts a release on a device, judges it there and takes it back; stdlib only.

It is imported from a zip by the device's own Python, before anything else is installed.
"""
