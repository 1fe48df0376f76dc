"""The access log and the formats of log lines."""
