"""Drawn faces and objects, each with a person, a pose and a light of its own: what the demo trains on, and what checks and tests look at."""
