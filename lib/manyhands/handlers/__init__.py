"""What the tasks do: options as they were typed become calls of the library, and what comes of them is shown."""
