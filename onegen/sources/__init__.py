"""Sources: where items come from, one file per kind."""
