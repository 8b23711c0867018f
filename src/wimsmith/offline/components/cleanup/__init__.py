"""Clean-up of a component store: superseded versions removed, and the base reset if asked for."""
