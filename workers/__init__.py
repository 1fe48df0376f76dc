"""Threads, batches and time: the only place with executors or locks."""
