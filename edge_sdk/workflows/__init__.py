"""Workflows: one file per thing that a person does; the command line only calls these."""
