"""The content library: blobs known by their SHA-256."""
