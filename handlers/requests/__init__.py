"""Requests that Tornado has read: heads, bodies, handlers and error responses."""
