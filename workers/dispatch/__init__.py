"""Claims orders, makes attempts at them, and records the outcomes."""
