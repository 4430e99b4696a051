"""The process in which one scene plays; apart from `manyhands.tour.scene_tools`, which scenes import: a module has one copy then."""

from __future__ import annotations

from manyhands.tour.scene_tools import main

if __name__ == "__main__":
    main()
