"""Detects damaged orders and storage errors, and keeps other orders working."""
