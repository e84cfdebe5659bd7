"""Which things there are, and where."""
