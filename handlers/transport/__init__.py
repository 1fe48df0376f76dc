"""HTTP/1.1 connections, requests and responses: limits, time-outs, TLS."""
