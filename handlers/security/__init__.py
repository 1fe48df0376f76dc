"""Access control: API keys, rate limits, Host headers and cross-origin requests."""
