"""From a spec to an engine: the parts built, settings found by rule where none are published."""
