"""What is done with an input: a command template or a Python function; and the plan, what was asked of a run as a whole."""
