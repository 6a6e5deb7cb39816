"""Makes slides, handouts and readings out of the sample course's sources; see `make_course.py` beside this folder."""
