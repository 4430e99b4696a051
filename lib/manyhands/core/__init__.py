"""Plain data and text, on the standard library alone: errors, jobs and outcomes, events, limits, values. Nothing here reads or writes."""
