"""Works together with other servers on the same database: leases, events and waiting."""
