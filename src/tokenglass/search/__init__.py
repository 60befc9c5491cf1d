"""Strategies that follow many prefixes at once, over `Engine.forward` alone.

Each is a generator: it yields a record of every step, and returns the finished texts, best first. They know
ids, scores and the chain; they do not know models' insides, caches or screens.
"""
