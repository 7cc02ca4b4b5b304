"""The plugin's parts: their options and checks. The work is in the modules that `build` imports."""
