"""What an offline installation must leave in an image, derived from the package alone.

Nothing here imports the product. Files and registry are read by other people's programs
(`wimlib-imagex`, `cabextract`, python-registry); names, hashes, states and places are computed by
code of its own. `expect` says what must change, `observe` what did, `compare` both ways.
"""
