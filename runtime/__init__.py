"""The device side: frames in, results out; numpy at import, and one engine."""
