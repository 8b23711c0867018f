"""Offline servicing: schedules, runs, and what became of every update on every index."""
