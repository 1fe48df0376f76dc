"""The load generator and the benchmarks: they speak HTTP and import nothing of the server's."""
