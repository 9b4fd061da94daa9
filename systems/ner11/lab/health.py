"""`health.py PORT PATH WORDS`: the health check of a container of the lab, as `curl` would be of a real one.

Exit status: 0 when the answer is 200 and has the words in it; 1 otherwise. It prints what was answered.
"""

from __future__ import annotations

import http.client
import sys

_TIMEOUT_SECONDS = 3


def main(port: str, path: str, words: str) -> int:
    """Ask once."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read(10_000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        print(f"no answer from port {port}: {exc}")
        return 1
    finally:
        connection.close()
    print(f"{answer.status} {said[:200]}")
    return 0 if answer.status == 200 and words in said else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
