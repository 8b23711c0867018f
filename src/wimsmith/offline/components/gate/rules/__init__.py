"""Rules of the component store, each checked on the store of the image itself."""
