"""What a run will need, before it starts: memory, disk, time. No torch."""
