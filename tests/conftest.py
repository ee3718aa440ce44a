pytest_plugins = ["forge.testing"]
