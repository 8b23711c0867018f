"""Updates that can be applied to images."""
