"""The process and what it runs on: errors, files, threads, memory, and the only import of MXNet."""
