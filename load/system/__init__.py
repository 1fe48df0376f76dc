"""The machine and the server process."""
