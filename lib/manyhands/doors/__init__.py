"""What the tasks do: options as they were typed become calls of the library, and what comes of them is shown.

One module for each collection of tasks. Here is the only place of a task's work that prints, and knows of exit statuses.
"""
