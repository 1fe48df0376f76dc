"""Metrics: instruments, snapshots, history, and their formats."""
