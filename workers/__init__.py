"""Threads, queues, batches and timers around the store. The only package with executors."""
