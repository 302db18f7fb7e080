"""What is remembered of a user: the state, its counters and codes, and the seal around them."""
