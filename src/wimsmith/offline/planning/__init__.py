"""What would become of updates on an image, decided from facts alone: nothing here writes."""
