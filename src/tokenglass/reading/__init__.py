"""Prefixes read by the model and judged by the chain: what the loop, the searches and sessions share."""
