"""gflow: adversarial and gradient-flow generative models, composed from plugins by TOML recipes."""
