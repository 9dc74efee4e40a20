"""Many runs: every job a process of its own, with its own folder. Killed anywhere, a sweep goes on."""
