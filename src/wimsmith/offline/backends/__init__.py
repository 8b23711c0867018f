"""Who changes images: one interface, behind it Wimsmith's own engine."""
