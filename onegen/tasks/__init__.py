"""What a training example of a task looks like: views, prompts, drawn conditions."""
