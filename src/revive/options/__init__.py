"""Settings of what can be named in a spec: editors, guards, probes, sinks. No torch."""
