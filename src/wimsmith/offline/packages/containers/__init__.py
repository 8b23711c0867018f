"""What updates come in: cabinets, `.msu` files, container indexes, WIM files."""
