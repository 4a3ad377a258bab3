"""Ids that stay with things from frame to frame."""
