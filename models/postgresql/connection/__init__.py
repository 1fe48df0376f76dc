"""Connections to PostgreSQL: their address, their settings, their time-outs and errors, and retries."""
