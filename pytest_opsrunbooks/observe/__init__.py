"""Observing: the engine that runs probes, and the probe kinds."""
