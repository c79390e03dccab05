"""Our own figures: subjects, their latency and CPU, instruction counts and the baseline they are held to.

`python -m benchmarks gate` is what CI runs; `python -m benchmarks table` writes the README's table. What a wall clock
says on a shared machine is noise until it is shown not to be: windows are void when somebody waited for a CPU, figures
come from one run with one process a subject, and the gate that no noise moves counts instructions.
"""
