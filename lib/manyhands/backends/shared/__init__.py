"""Code that several backends use: slots, captured output, reports, how long this process was stopped."""
