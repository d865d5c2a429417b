"""The generator role: vLLM engines in Ray actors, and the pool that routes to them and replaces them."""
