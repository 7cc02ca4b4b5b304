"""Drifting models: generative modelling via drifting (Deng et al. 2026)."""
