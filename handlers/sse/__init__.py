"""Server-Sent Events: order events and metric events."""
