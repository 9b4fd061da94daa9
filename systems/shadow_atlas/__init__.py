"""Shadow Atlas as a system: settings, policy, the formats of its data, its lab and its faults."""
