"""Who may send a request, and how often: API keys, rate limits, origins."""
