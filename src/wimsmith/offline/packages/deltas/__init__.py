"""Deltas of update packages: PA30, PA19 and compressed manifests."""
