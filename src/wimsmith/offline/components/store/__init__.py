"""The component store of an image: lookups, and edits readable as if done."""
