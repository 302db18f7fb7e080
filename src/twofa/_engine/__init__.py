"""What happens in a call: the state machine, the operations, and the way from a load to a swap."""
