"""What runs: models, components, chains, agents, retrieval, and the processes that hold a user's code.

Knows versions and how to execute them; not who may (govern), nor through which door the wish came in (doors).
"""
