"""Editor settings per model: published, calibrated, or by rule. No torch."""
