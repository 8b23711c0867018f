"""Manifests of packages and components: XML text to values, and the names made from them."""
