"""The commands of server.py: what it does instead of serving."""
