"""The paper's tables from any model's pictures: a file, or a folder, a protocol. docs/evaluation.md.

Generating and scoring are two steps that meet at a folder of pictures; a scorer never looks at the model.
"""
