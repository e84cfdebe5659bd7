"""Driving workers through tasks: a supervisor over local processes or Ray actors. It knows jobs, and no step."""
