"""Looks of the doctor: one file per concern; the folder is the registry.

A module has `OF`, which says where its looks make sense, and `LOOKS`, functions of a `Scene` that
return findings. Adding a look is adding a function, or a file. Nothing here is imported by a
device's programs, and nothing here imports what may be broken: that happens in a child process.
"""
