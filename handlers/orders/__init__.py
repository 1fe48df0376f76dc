"""Requests that send, look up, list, cancel and retry orders, and that pause processing."""
