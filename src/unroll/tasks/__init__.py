"""What is learned: LightningModules."""
