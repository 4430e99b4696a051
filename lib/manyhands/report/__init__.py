"""A finished or running run as one page, as a picture, in Markdown, and against another run. Needs the extra ``report`` for pictures."""
