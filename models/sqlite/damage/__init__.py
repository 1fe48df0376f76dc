"""Limits the harm of damaged orders and of storage errors, and detects both."""
