"""`python -m wimsmith.cli` is `wimsmith`."""

from wimsmith.cli.main import main

main()
