"""Whether the store of an image is closed: every reference leads somewhere, every hash is right."""
