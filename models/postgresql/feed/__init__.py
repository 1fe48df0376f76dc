"""The feed: the changes of all servers, for the event streams of each server."""
