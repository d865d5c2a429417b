"""The mathematics of MicroCoder-GRPO and the state it trains: objective, masks, policy, optimizer, checkpoints."""
