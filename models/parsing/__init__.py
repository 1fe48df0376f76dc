"""A request body to an order, fast, and with all errors."""
