"""Whether an image may be changed: its health, and whether its store is understood."""
