"""Access control: API keys, rate limits, cross-origin requests."""
