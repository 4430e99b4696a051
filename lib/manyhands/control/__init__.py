"""Telling a run that goes on what to do, from another process of the same user: server (in the run), client, endpoint (the socket)."""
