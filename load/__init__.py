"""The load generator and the benchmarks. They send HTTP requests and import nothing from the server."""
