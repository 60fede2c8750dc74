"""Makes what lies in `assets/`: weights, example pictures, reports. In no wheel: nothing else of Satchel needs it."""
