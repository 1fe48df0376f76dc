"""Requests that Tornado reads: their heads, limits on bodies, query parameters and error responses."""
