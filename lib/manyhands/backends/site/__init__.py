"""A site: a local backend in a process elsewhere, reached by two byte streams. It decides nothing.

    near end: link.py --frames--> far end: far_end.py --verbs--> the backend `commands`, on that machine

The far end travels (`parcel.py`): it, and all that it imports, runs on Python 3.9 and needs only the standard library.
"""
