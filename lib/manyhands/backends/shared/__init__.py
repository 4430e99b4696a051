"""What several backends need: slots, captured output, reports, how long this process was stopped."""
