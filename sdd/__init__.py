"""Sparse double descent: noisy labels, pruning chains, distillation, cost, and what they show."""
