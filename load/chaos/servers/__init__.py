"""The servers of the targets: their processes, clocks and load balancer, and how they take over orders."""
