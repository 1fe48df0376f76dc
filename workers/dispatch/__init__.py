"""Takes Pending orders from the store, passes them to the processor, and stores the outcomes."""
