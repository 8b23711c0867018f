"""Offline edits of one image: files, registry, answer file, features, as one list and one commit.

`kinds` says what can be asked for, `data` and `words` how it is written down, `planning` turns a
list into one change set, `writing` commits it.
"""
