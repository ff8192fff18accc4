"""How fast the parts of an editing batch are, beside a floor and the literature's way.

python -m benchmarks --help
"""
