"""Starts servers as processes, and describes the machine."""
