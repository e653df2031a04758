"""How far live inputs and predictions have moved from training, with limits that training's own stretches keep."""
