"""Numbers out of arrays: pure functions, no model, no file."""
