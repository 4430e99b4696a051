"""The process in which one scene plays; apart from `manyhands.tour.stage`, which scenes import: a module has one copy then."""

from __future__ import annotations

from manyhands.tour.stage import main

if __name__ == "__main__":
    main()
