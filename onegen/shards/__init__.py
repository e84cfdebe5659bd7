"""The on-disk contract: the only code that knows the files of a dataset."""
