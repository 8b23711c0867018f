"""Processes that hold the C libraries: codecs, volumes, and verbs on whole files."""
