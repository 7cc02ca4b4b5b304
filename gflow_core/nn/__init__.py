"""What several plugins need: blocks, spectral normalisation, players. Everything here imports torch."""
