"""From committed columns to training examples: seeded, sharded over ranks, resumable, without torch."""
