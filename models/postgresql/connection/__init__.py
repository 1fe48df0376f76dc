"""Connections to PostgreSQL: their address, their settings, their errors, and retries."""
