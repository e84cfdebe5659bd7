"""What annotators of several modalities compute with."""
