"""Judging: markers, requirements, verdicts and the exit status that follows from them."""
