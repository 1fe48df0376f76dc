"""Injects the planned faults: faults of all targets, and faults that only one kind of database has."""
