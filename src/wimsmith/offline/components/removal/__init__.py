"""Removing installed packages, and bringing back what they had replaced."""
