"""Tests, by what they need: unit, contract, integration, fault, cluster."""
