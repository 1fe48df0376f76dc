"""What the transactions of both engines have in common: decisions about orders, without SQL."""
