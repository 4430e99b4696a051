"""The one loop that decides: what begins when, what is ended, what is tried again, when to stop."""
