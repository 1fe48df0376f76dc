"""Whether two orders with the same id are the same order."""
