"""`watch.py FOLDER`: waits until the process that serves the lab is gone, then ends the lab's services.

The serving process holds a lock for as long as it lives; the kernel gives it to this one at that moment, however the
other one ended. So nothing of a lab outlives a test run that was killed.
"""

from __future__ import annotations

import fcntl
import pathlib
import sys

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))

from systems.ner11.lab import monitors
from systems.ner11.lab import services
from systems.ner11.lab.layout import Layout


def main(folder: str) -> None:
    """Wait, and clear up."""
    layout = Layout(pathlib.Path(folder))
    with layout.owner_lock.open("r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        services.kill_all(layout)
        monitors.unmount(layout)


if __name__ == "__main__":
    main(sys.argv[1])
