"""The main job: from a recipe to committed shards, and the steps it goes through."""
