"""OS images: their versions, indexes, and what is installed in them."""
