"""What the API counts of itself, as Prometheus reads it."""

from __future__ import annotations

import threading

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)


class Histogram:
    """How often something took at most so long."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        place = next((i for i, limit in enumerate(_BUCKETS) if seconds <= limit), len(_BUCKETS))
        self._counts[place] += 1
        self._sum += seconds

    def lines(self, name: str) -> list[str]:
        found, total = [f"# TYPE {name} histogram"], 0
        for limit, count in zip((*map(str, _BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            found.append(f'{name}_bucket{{le="{limit}"}} {total}')
        return [*found, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


class Metrics:
    """Every figure of one API process; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = {}
        self._durations = Histogram()
        self._inferences = Histogram()
        self.queue = 0

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        with self._lock:
            key = (method, path, status)
            self._requests[key] = self._requests.get(key, 0) + 1
            self._durations.add(seconds)

    def inference(self, seconds: float) -> None:
        with self._lock:
            self._inferences.add(seconds)

    def queued(self, change: int) -> None:
        with self._lock:
            self.queue += change

    def text(self, pool_size: int, models_loaded: int) -> str:
        with self._lock:
            lines = ["# TYPE http_requests_total counter"]
            for (method, path, status), count in sorted(self._requests.items()):
                lines.append(
                    f'http_requests_total{{method="{method}",path="{path}",status="{status}"}} {count}'
                )
            lines += self._durations.lines("http_request_duration_seconds")
            lines += self._inferences.lines("ner11_inference_seconds")
            lines += ["# TYPE ner11_inference_queue gauge", f"ner11_inference_queue {self.queue}"]
            lines += ["# TYPE ner11_pool_size gauge", f"ner11_pool_size {pool_size}"]
            lines += ["# TYPE ner11_models_loaded gauge", f"ner11_models_loaded {models_loaded}"]
        return "\n".join(lines) + "\n"
