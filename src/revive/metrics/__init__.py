"""What every metric means, its unit, which way is better, and where it comes from. No torch."""
