"""The photos that Python packages ship, and pairs made of them: real data on a bare machine."""
