"""`control.py FOLDER start|stop|kill|status|initialise SERVICE`: how procedures reach the services of a lab.

Exit status: 0 done, or it runs; 1 not done; 2 wrong use; 3 it does not run.
"""

from __future__ import annotations

import pathlib
import sys

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))

from systems.ner11.lab import postgres
from systems.ner11.lab import processes
from systems.ner11.lab import services
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout

_DEEDS = ("start", "stop", "kill", "status", "initialise")


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    if len(arguments) != 3 or arguments[1] not in _DEEDS or arguments[2] not in SERVICES:
        print(f"usage: control.py FOLDER {'|'.join(_DEEDS)} {'|'.join(SERVICES)}", file=sys.stderr)
        return 2
    layout, deed, service = Layout(pathlib.Path(arguments[0])), arguments[1], arguments[2]
    if deed == "status":
        if (pid := services.pid_of(layout, service)) is None:
            print(f"{service} does not run")
            return 3
        print(f"{service} runs as process {pid}")
        return 0
    if deed in ("start", "initialise"):
        try:
            if deed == "initialise":
                postgres.make_where_there_is_none(layout)
            services.start(layout, service)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        processes.forget()
    elif deed == "stop":
        if not services.stop(layout, service):
            print(f"{service} still runs after {services.STOP_SECONDS:g} s", file=sys.stderr)
            return 1
    else:
        services.kill(layout, service)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
