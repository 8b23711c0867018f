"""The HTTP face: builds the application, names its errors, knows who asks."""
