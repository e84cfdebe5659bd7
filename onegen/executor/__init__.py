"""The supervisor and the two kinds of workers it drives."""
