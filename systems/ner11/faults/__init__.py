"""Every way in which the lab can be broken, and changes that only look like it."""
