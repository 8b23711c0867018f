"""Moving what an image holds between absent, staged and installed, with all that follows."""
