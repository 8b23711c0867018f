"""Long work: a ledger that users see, a port to the engine of durable steps, a scheduler."""
