"""An example of a gflow plugin: generators fitted by the energy distance."""
