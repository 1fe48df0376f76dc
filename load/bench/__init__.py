"""The benchmarks: the server compared with a bare Tornado, with itself, or with another version of it."""
