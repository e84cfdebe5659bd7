"""Look into a dataset in a web browser: `onegen browse DATASET`, on this machine alone and read only. docs/audit.md."""
