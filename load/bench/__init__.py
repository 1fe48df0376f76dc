"""The benchmarks: the server against a bare Tornado, or against itself."""
