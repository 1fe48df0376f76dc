"""Servers that share the database: their leases, and taking over the orders of a dead server."""
