"""The feed: what all servers change, for the event streams of each of them."""
