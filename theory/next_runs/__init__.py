"""Which trials to run next: what each candidate would tell about the target, and what it costs.

Read first: sequential.py; belief.py says what is believed, points.py chooses for a fit that is at hand.
"""
