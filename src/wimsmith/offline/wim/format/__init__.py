"""What a WIM file is: its parts as bytes and as values, and reading them."""
