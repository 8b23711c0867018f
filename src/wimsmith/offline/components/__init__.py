"""The component store of an image: what it holds, what applies to it, and installing updates.

`install.apply` is the way in. Formats and rules: docs/internals/component-store.md.
"""
