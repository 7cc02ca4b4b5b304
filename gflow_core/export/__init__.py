"""What leaves a run for other programs: many samples in files, walks through the latents, the sampler itself."""
