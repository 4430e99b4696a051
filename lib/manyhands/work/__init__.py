"""The work on each input, a command template or a Python function; and the plan, the request for a run as a whole."""
