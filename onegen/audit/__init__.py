"""Looking at a dataset: how its build goes, whether it is sound, what its samples look like."""
