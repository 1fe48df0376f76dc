"""The status changes of orders, and the feed by which servers learn of the changes that other servers make."""
