"""Ours beside peers, as ratios within one run: `python -m benchmarks [NAME ...]`. docs/figures.md has the bars."""
