"""Programs for those who look after machines; each is a task `admin.NAME`, and stands alone as `scripts/admin/NAME.py`.

    options --NAME.py--> rows, each with a level --report.py--> a verdict and a table, or JSON lines; an exit status for a monitor

One module a program: it collects, judges and says how a row looks. Other programs are run by `programs.py`, before any thread of
ours; what takes time is done for many targets at once by `each.py`, on the engine.
"""
