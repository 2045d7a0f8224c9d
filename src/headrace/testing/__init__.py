"""What tests of applications and of adapters use."""
