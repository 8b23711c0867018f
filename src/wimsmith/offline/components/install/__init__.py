"""Installing an update: what it brings, where it goes, writing and reading it back."""
