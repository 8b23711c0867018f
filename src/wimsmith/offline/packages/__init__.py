"""Update packages: opening containers, expanding deltas, checking who made them."""
