"""Wimsmith: manage, service, distribute and deploy Windows OS images from a Linux server."""

__version__ = "0.1.0.dev0"
