"""Traces: what a session wrote, kept as it was written, read back without a model, and handed on."""
