"""Flow matching as pure functions: the path between noise and data, and the solvers."""
