"""Arrays in, numbers out: how good, how sure, how much better, how costly. No torch."""
