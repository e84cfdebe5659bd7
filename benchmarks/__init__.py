"""Ours beside peers, as ratios within one run: `python -m benchmarks [NAME ...]`. DESIGN section 8 has the bars."""
