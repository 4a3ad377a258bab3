"""Numbers against a reference: intervals, classification, raw outputs."""
