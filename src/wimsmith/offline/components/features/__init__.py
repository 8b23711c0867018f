"""Switching optional features on and off."""
