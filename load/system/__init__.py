"""Starts servers as processes, runs the event loop, and describes the machine."""
