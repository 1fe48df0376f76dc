"""Attempts with a user's function, on threads or as coroutines."""
