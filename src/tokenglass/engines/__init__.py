"""Engines: each a pure function from token ids to logits (see `base`)."""
