"""Formats: one file per kind of artifact.

Each has `ENGINE`, `SUFFIX`, `PRECISIONS`, `kernels(activation_type)`, `lower(graph, plan)`,
`halve(graph, mode)` and `write(graph, facts) -> bytes`. A leading underscore marks what they share.
"""
