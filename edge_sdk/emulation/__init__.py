"""How an emulated device is built: its system, its wheels, its CPU."""
