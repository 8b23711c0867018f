"""The command line: a client of the site's HTTP API, and verbs on plain files that need no site."""
